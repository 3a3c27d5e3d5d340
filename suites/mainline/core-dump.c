/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Dumps the core of a child, which the kernel reads through its own addresses, and looks for the child's data in it. */
#include "mainline.h"
#include <sys/resource.h>

enum { PAGES = 8 };

int main(void)
{
	size_t length = PAGES * page_size(), found = 0;
	char *memory = map_anonymous(length), *core;
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct stat status;
	int wait_status, fd;
	pid_t child;

	need(write_text("/proc/sys/kernel/core_pattern", "/tmp/mainline-core\n"), "write core_pattern");
	child = check(fork(), "fork");
	if (child == 0) {
		check(setrlimit(RLIMIT_CORE, &unlimited), "setrlimit");
		fill(memory, length, 9);
		abort();
	}
	check(waitpid(child, &wait_status, 0), "waitpid");
	fd = open("/tmp/mainline-core", O_RDONLY);
	if (!WCOREDUMP(wait_status) || fd < 0)
		skip("the kernel dumped no core");
	unlink("/tmp/mainline-core");
	check(fstat(fd, &status), "fstat");
	core = mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (core == MAP_FAILED)
		fail("mmap of the core: %s", strerror(errno));
	for (off_t at = 0; !found && at + (off_t)length <= status.st_size; at += page_size()) {
		size_t same = 0;

		while (same < length && core[at + same] == (char)pattern(9, same))
			same++;
		found = same == length;
	}
	if (!found)
		fail("the core does not contain the data of the process");
	return PASSED;
}
