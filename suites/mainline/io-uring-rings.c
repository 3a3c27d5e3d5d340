/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Passes requests and completions through the rings of an io_uring, which this process maps. The queues have several
 * pages, and both sides store to them. There are several rings, because one could have the right colour by chance.
 */
#include "io-uring.h"

enum { RINGS = 6, ENTRIES = 64, REQUESTS = 200 };

int main(void)
{
	for (int i = 0; i < RINGS; i++) {
		struct ring ring = ring_setup(ENTRIES, 0);

		/* Moves the next ring by a page. */
		map_anonymous(page_size());
		for (unsigned int j = 0; j < REQUESTS; j++) {
			struct io_uring_sqe request = { .opcode = IORING_OP_NOP, .fd = -1, .user_data = 1 + j * 3ull };
			int result = ring_do(&ring, &request);

			if (result != 0)
				fail("request %u: the no-op returned %d", j, result);
		}
	}
	return PASSED;
}
