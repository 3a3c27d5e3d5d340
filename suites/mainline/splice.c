/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Moves data through a pipe with splice() and vmsplice(). Nothing stores to the pages while they are in the pipe:
 * vmsplice() does not promise which data a reader sees then.
 */
#include "mainline.h"

enum { PAGES = 8, ROUNDS = 3 };

int main(void)
{
	size_t page = page_size(), length = PAGES * page;
	char *buffer = map_anonymous(length), *received = map_anonymous(length), *mapping;
	int file = memory_file(length), pipe_of[2];

	mapping = map_shared(file, length, 0, "the file");
	check(pipe(pipe_of), "pipe");
	for (int round = 0; round < ROUNDS; round++) {
		struct iovec vector = { buffer, length };
		off_t offset = 0;

		fill(buffer, length, round);
		if (check(vmsplice(pipe_of[1], &vector, 1, 0), "vmsplice") != (ssize_t)length)
			fail("short vmsplice");
		for (size_t at = 0; at < length;)
			at += check(read(pipe_of[0], received + at, length - at), "read");
		expect_pattern(received, length, round, "data of vmsplice()");
		fill(mapping, length, 50 + round);
		for (size_t at = 0; at < length;)
			at += check(splice(file, &offset, pipe_of[1], NULL, length - at, 0), "splice from the file");
		for (size_t at = 0; at < length;)
			at += check(read(pipe_of[0], received + at, length - at), "read");
		expect_pattern(received, length, 50 + round, "data of splice() from a file");
		fill(buffer, length, 100 + round);
		offset = 0;
		if (check(write(pipe_of[1], buffer, length), "write") != (ssize_t)length)
			fail("short write");
		for (size_t at = 0; at < length;)
			at += check(splice(pipe_of[0], NULL, file, &offset, length - at, 0), "splice to the file");
		expect_pattern(mapping, length, 100 + round, "data of splice() to a file");
	}
	return PASSED;
}
