/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A child whose memory this process reads and writes by another way than a mapping. */
#ifndef OTHER_MEMORY_H
#define OTHER_MEMORY_H

#include "mainline.h"

enum { OTHER_PAGES = 16, OTHER_ROUNDS = 3 };

typedef void (*transfer)(pid_t child, void *remote, void *local, size_t length);

/*
 * Repeats: a child fills a buffer, this process reads the buffer and writes it, and the child checks it. `do_read` and
 * `do_write` copy from and to the child.
 */
HELPER int exchange_with_child(transfer do_read, transfer do_write)
{
	size_t length = OTHER_PAGES * page_size();
	char *remote = map_anonymous(length), *local = map_anonymous(length);
	int to_child[2], to_parent[2];
	char token = 0;
	pid_t child;

	check(pipe(to_child), "pipe");
	check(pipe(to_parent), "pipe");
	child = check(fork(), "fork");
	if (child == 0) {
		for (int round = 0; round < OTHER_ROUNDS; round++) {
			fill(remote, length, round);
			check(write(to_parent[1], &token, 1), "write");
			check(read(to_child[0], &token, 1), "read");
			expect_pattern(remote, length, 100 + round, "data written by the other process");
		}
		_exit(PASSED);
	}
	for (int round = 0; round < OTHER_ROUNDS; round++) {
		check(read(to_parent[0], &token, 1), "read");
		do_read(child, remote, local, length);
		expect_pattern(local, length, round, "data read from the other process");
		fill(local, length, 100 + round);
		do_write(child, remote, local, length);
		check(write(to_child[1], &token, 1), "write");
	}
	expect_success(child, "the other process");
	return PASSED;
}

#endif
