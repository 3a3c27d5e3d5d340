/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Attaches a segment of System V shared memory twice, also in a child. */
#include "mainline.h"
#include <sys/shm.h>

enum { PAGES = 8, ROUNDS = 3 };

int main(void)
{
	size_t length = PAGES * page_size();
	int id = need(shmget(IPC_PRIVATE, length, IPC_CREAT | 0600), "shmget");
	char *first = shmat(id, NULL, 0), *second = shmat(id, NULL, 0);

	if (first == (void *)-1 || second == (void *)-1)
		fail("shmat: %s", strerror(errno));
	check(shmctl(id, IPC_RMID, NULL), "IPC_RMID");
	for (int round = 0; round < ROUNDS; round++) {
		pid_t child;

		fill(first, length, round);
		expect_pattern(second, length, round, "data of the first attachment");
		child = check(fork(), "fork");
		if (child == 0) {
			expect_pattern(second, length, round, "data of the parent");
			fill(second, length, 100 + round);
			_exit(PASSED);
		}
		expect_success(child, "the child");
		expect_pattern(first, length, 100 + round, "data of the child");
	}
	return PASSED;
}
