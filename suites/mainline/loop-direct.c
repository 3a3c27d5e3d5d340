/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Reads from a loop device with O_DIRECT. The driver reads the backing file into the pages of this process through the
 * kernel's address, in drivers/block/loop.c and the read_iter() of tmpfs.
 */
#include "mainline.h"
#include <linux/loop.h>

enum { PAGES = 16, ROUNDS = 3 };

int main(void)
{
	size_t length = PAGES * page_size();
	int control = need(open("/dev/loop-control", O_RDWR), "open /dev/loop-control");
	int number = need(ioctl(control, LOOP_CTL_GET_FREE), "LOOP_CTL_GET_FREE");
	char path[32];
	int device, direct, file;
	char *buffer, *source;

	snprintf(path, sizeof(path), "/dev/loop%d", number);
	device = need(open(path, O_RDWR), "open the loop device");
	file = memory_file(length);
	source = map_anonymous(length);
	check(ioctl(device, LOOP_SET_FD, file), "LOOP_SET_FD");
	direct = check(open(path, O_RDONLY | O_DIRECT), "open the loop device with O_DIRECT");
	buffer = map_anonymous(length);
	for (int round = 0; round < ROUNDS; round++) {
		fill(source, length, round);
		if (check(pwrite(file, source, length, 0), "write the backing file") != (ssize_t)length)
			fail("short write to the backing file");
		/* Lines of the buffer are in the cache now, in the colour of this mapping. */
		fill(buffer, length, 100 + round);
		if (check(pread(direct, buffer, length, 0), "read the loop device") != (ssize_t)length)
			fail("short read from the loop device");
		expect_pattern(buffer, length, round, "data read from the loop device");
	}
	close(direct);
	check(ioctl(device, LOOP_CLR_FD), "LOOP_CLR_FD");
	close(device);
	check(ioctl(control, LOOP_CTL_REMOVE, number), "LOOP_CTL_REMOVE");
	return PASSED;
}
