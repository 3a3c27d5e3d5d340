/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Maps a buffer of the system heap of DMA buffers twice. The kernel has cleared its pages through its own addresses. */
#include "mainline.h"
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>

enum { PAGES = 8, ROUNDS = 3 };

int main(void)
{
	size_t length = PAGES * page_size();
	int heap = need(open("/dev/dma_heap/system", O_RDWR), "open /dev/dma_heap/system");

	for (int round = 0; round < ROUNDS; round++) {
		struct dma_heap_allocation_data request = { .len = length, .fd_flags = O_RDWR | O_CLOEXEC };
		char *first, *second;

		need(ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &request), "DMA_HEAP_IOCTL_ALLOC");
		first = map_shared(request.fd, length, 0, "the buffer");
		second = map_shared(request.fd, length, 0, "the buffer");
		for (size_t i = 0; i < length; i++)
			if (((volatile char *)first)[i])
				fail("byte %zu of a new buffer is not zero", i);
		fill(first, length, round);
		expect_pattern(second, length, round, "data of the first mapping");
		fill(second, length, 50 + round);
		expect_pattern(first, length, 50 + round, "data of the second mapping");
		munmap(first, length);
		munmap(second, length);
		close(request.fd);
	}
	return PASSED;
}
