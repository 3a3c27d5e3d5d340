/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Makes a DMA buffer of the pages of a memfd, and uses the pages through a mapping of the memfd, a mapping of the
 * buffer, and read() and write() of the memfd. DMA_BUF_IOCTL_SYNC brackets all accesses: outside of it, the pages
 * belong to devices, and the kernel may drop what the cache has of them.
 */
#include "mainline.h"
#include <linux/dma-buf.h>
#include <linux/udmabuf.h>

enum { PAGES = 8, ROUNDS = 3 };

static void sync_buffer(int buffer, uint64_t flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	check(ioctl(buffer, DMA_BUF_IOCTL_SYNC, &sync), "DMA_BUF_IOCTL_SYNC");
}

int main(void)
{
	size_t length = PAGES * page_size();
	int device = need(open("/dev/udmabuf", O_RDWR), "open /dev/udmabuf"), file, buffer;
	struct udmabuf_create create = { .size = length };
	char *of_file, *of_buffer, *plain = map_anonymous(length);

	file = need(memfd_create("mainline", MFD_ALLOW_SEALING), "memfd_create");
	check(ftruncate(file, length), "ftruncate");
	check(fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK), "F_ADD_SEALS");
	create.memfd = file;
	buffer = need(ioctl(device, UDMABUF_CREATE, &create), "UDMABUF_CREATE");
	of_file = map_shared(file, length, 0, "the memfd");
	of_buffer = map_shared(buffer, length, 0, "the buffer");
	for (int round = 0; round < ROUNDS; round++) {
		sync_buffer(buffer, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
		fill(of_file, length, round);
		expect_pattern(of_buffer, length, round, "data of the memfd in the buffer");
		fill(of_buffer, length, 50 + round);
		expect_pattern(of_file, length, 50 + round, "data of the buffer in the memfd");
		check(pread(file, plain, length, 0), "pread");
		expect_pattern(plain, length, 50 + round, "data of the buffer, read from the memfd");
		fill(plain, length, 100 + round);
		check(pwrite(file, plain, length, 0), "pwrite");
		expect_pattern(of_buffer, length, 100 + round, "data written to the memfd, in the buffer");
		sync_buffer(buffer, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
	}
	return PASSED;
}
