/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Passes requests and completions through the rings of an io_uring, which this process maps. The queues have several
 * pages, and both sides store to them.
 */
#include "io-uring.h"

enum { ENTRIES = 256, REQUESTS = 1000 };

int main(void)
{
	struct ring ring = ring_setup(ENTRIES, 0);

	for (unsigned int i = 0; i < REQUESTS; i++) {
		struct io_uring_sqe request = { .opcode = IORING_OP_NOP, .fd = -1, .user_data = 1 + i * 3ull };
		int result = ring_do(&ring, &request);

		if (result != 0)
			fail("request %u: the no-op returned %d", i, result);
	}
	return PASSED;
}
