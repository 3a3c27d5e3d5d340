/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The test of direct mmap that the patches add to libfuse, as a case: it gets a mount point, and its status for a skip
 * becomes that of a case.
 */
#define main test_dmmap
#include "test/test_dmmap.c"
#undef main

#include <sys/stat.h>

int main(int argc, char *argv[])
{
	int status;
	pid_t pid;

	if (argc == 2)
		mkdir(argv[1], 0700);
	pid = fork();
	if (pid == 0)
		exit(test_dmmap(argc, argv));
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return 1;
	return WEXITSTATUS(status) == 77 ? 4 : WEXITSTATUS(status);
}
