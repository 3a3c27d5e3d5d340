/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Forks, so that the kernel copies private pages when either process stores to them. */
#include "mainline.h"

enum { PAGES = 16, ROUNDS = 3 };

int main(void)
{
	size_t length = PAGES * page_size();
	char *memory = map_anonymous(length);

	for (int round = 0; round < ROUNDS; round++) {
		int go[2];
		char token = 0;
		pid_t child;

		check(pipe(go), "pipe");
		fill(memory, length, round);
		child = check(fork(), "fork");
		if (child == 0) {
			check(read(go[0], &token, 1), "read");
			expect_pattern(memory, length, round, "private data of the child");
			fill(memory, length, 50 + round);
			expect_pattern(memory, length, 50 + round, "data that the child stored");
			_exit(PASSED);
		}
		fill(memory, length, 100 + round);
		check(write(go[1], &token, 1), "write");
		expect_success(child, "the child");
		expect_pattern(memory, length, 100 + round, "private data of the parent");
		close(go[0]);
		close(go[1]);
	}
	return PASSED;
}
