/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Stores words into the memory of another process with PTRACE_POKEDATA, and reads them with PTRACE_PEEKDATA. */
#include "mainline.h"
#include <signal.h>
#include <sys/ptrace.h>

enum { PAGES = 16, ROUNDS = 3 };

/* Checks, after each stop, that the first word of each page is the one that the tracer stored. */
static void tracee(volatile long *words, size_t stride)
{
	check(ptrace(PTRACE_TRACEME, 0, NULL, NULL), "PTRACE_TRACEME");
	for (int round = 0; round < ROUNDS; round++) {
		for (int page = 0; page < PAGES; page++)
			words[page * stride] = -1 - page;
		raise(SIGSTOP);
		for (int page = 0; page < PAGES; page++) {
			long found = words[page * stride];

			if (found != 1000 * round + page)
				fail("page %d: expected the poked word %d, found %ld", page, 1000 * round + page, found);
		}
	}
	_exit(PASSED);
}

int main(void)
{
	size_t stride = page_size() / sizeof(long);
	long *words = map_anonymous(PAGES * page_size());
	pid_t child = check(fork(), "fork");
	int status;

	if (child == 0)
		tracee(words, stride);
	for (int round = 0; round < ROUNDS; round++) {
		check(waitpid(child, &status, 0), "waitpid");
		if (!WIFSTOPPED(status))
			fail("the traced process ended with status 0x%x", status);
		for (int page = 0; page < PAGES; page++) {
			long found;

			errno = 0;
			found = ptrace(PTRACE_PEEKDATA, child, words + page * stride, NULL);
			if (errno)
				fail("PTRACE_PEEKDATA: %s", strerror(errno));
			if (found != -1 - page)
				fail("page %d: expected the word %d of the process, peeked %ld", page, -1 - page, found);
			check(ptrace(PTRACE_POKEDATA, child, words + page * stride, (void *)(1000l * round + page)),
			      "PTRACE_POKEDATA");
		}
		check(ptrace(PTRACE_CONT, child, NULL, NULL), "PTRACE_CONT");
	}
	expect_success(child, "the traced process");
	return PASSED;
}
