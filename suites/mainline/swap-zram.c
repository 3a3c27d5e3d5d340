/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Swaps pages of this process to zram, which compresses them through the kernel's addresses, and reads them back. */
#include "mainline.h"
#include <sys/swap.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

enum { PAGES = 64, ROUNDS = 3, SWAP_BYTES = 4 << 20 };

/* Writes the header of a swap area: linux/swap.h, union swap_header. */
static void make_swap(int fd)
{
	size_t page = page_size();
	unsigned char *header = map_anonymous(page);
	uint32_t *info = (uint32_t *)(header + 1024);

	info[0] = 1;
	info[1] = SWAP_BYTES / page - 1;
	memcpy(header + page - 10, "SWAPSPACE2", 10);
	if (check(pwrite(fd, header, page, 0), "write the header") != (ssize_t)page)
		fail("short write of the header");
}

int main(void)
{
	size_t length = PAGES * page_size();
	char *memory = map_anonymous(length), size[32];
	int fd;

	snprintf(size, sizeof(size), "%d", SWAP_BYTES);
	need(write_text("/sys/block/zram0/disksize", size), "write disksize");
	fd = check(open("/dev/zram0", O_RDWR), "open /dev/zram0");
	make_swap(fd);
	close(fd);
	need(swapon("/dev/zram0", 0), "swapon");
	for (int round = 0; round < ROUNDS; round++) {
		unsigned char resident[PAGES];
		int swapped = 0;

		fill(memory, length, round);
		check(madvise(memory, length, MADV_PAGEOUT), "MADV_PAGEOUT");
		check(mincore(memory, length, resident), "mincore");
		for (int i = 0; i < PAGES; i++)
			swapped += !(resident[i] & 1);
		expect_pattern(memory, length, round, "data after swapping");
		if (!swapped)
			fail("round %d: no page was swapped out", round);
	}
	check(swapoff("/dev/zram0"), "swapoff");
	check(write_text("/sys/block/zram0/reset", "1"), "write reset");
	return PASSED;
}
