/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Uses the same pages of a file in memory by read(), write() and two mappings. The first argument is tmpfs or memfd. */
#include "mainline.h"

enum { PAGES = 8, ROUNDS = 3 };

int main(int argc, char **argv)
{
	size_t length = PAGES * page_size();
	char *buffer = map_anonymous(length), *first, *second;
	int fd;

	if (argc > 1 && !strcmp(argv[1], "tmpfs")) {
		fd = check(open("/tmp/mainline", O_RDWR | O_CREAT | O_TRUNC, 0600), "create a file in tmpfs");
		check(ftruncate(fd, length), "ftruncate");
	} else {
		fd = memory_file(length);
	}
	first = map_shared(fd, length, 0, "the file");
	second = map_shared(fd, length, 0, "the file");
	for (int round = 0; round < ROUNDS; round++) {
		fill(buffer, length, round);
		check(pwrite(fd, buffer, length, 0), "pwrite");
		expect_pattern(first, length, round, "written data in the first mapping");
		expect_pattern(second, length, round, "written data in the second mapping");
		fill(first, length, 100 + round);
		expect_pattern(second, length, 100 + round, "data of the first mapping in the second");
		check(pread(fd, buffer, length, 0), "pread");
		expect_pattern(buffer, length, 100 + round, "read data of the first mapping");
		fill(second, length, 200 + round);
		expect_pattern(first, length, 200 + round, "data of the second mapping in the first");
	}
	unlink("/tmp/mainline");
	return PASSED;
}
