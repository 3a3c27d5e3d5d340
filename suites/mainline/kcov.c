/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Reads the coverage that the kernel stores in a buffer which this process maps, and resets its counter. */
#include "mainline.h"

#define KCOV_INIT_TRACE _IOR('c', 1, unsigned long)
#define KCOV_ENABLE _IO('c', 100)
#define KCOV_DISABLE _IO('c', 101)

enum { WORDS = 16384, ROUNDS = 10, TRACE_PC = 0 };

int main(void)
{
	volatile unsigned long *cover;
	int fd;

	fd = need(open("/sys/kernel/debug/kcov", O_RDWR), "open kcov");
	need(ioctl(fd, KCOV_INIT_TRACE, WORDS), "KCOV_INIT_TRACE");
	cover = map_shared(fd, WORDS * sizeof(long), 0, "the buffer");
	check(ioctl(fd, KCOV_ENABLE, TRACE_PC), "KCOV_ENABLE");
	for (int round = 0; round < ROUNDS; round++) {
		unsigned long count;

		cover[0] = 0;
		getppid();
		count = cover[0];
		if (count >= WORDS)
			fail("round %d: the counter is %lu", round, count);
		for (unsigned long i = 1; i <= count; i++)
			if (!cover[i])
				fail("round %d: entry %lu of %lu is empty", round, i, count);
	}
	check(ioctl(fd, KCOV_DISABLE, 0), "KCOV_DISABLE");
	return PASSED;
}
