/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Fills the pages of a child's faults with UFFDIO_COPY. */
#include "mainline.h"
#include <linux/userfaultfd.h>
#include <pthread.h>

enum { PAGES = 16, ROUNDS = 3 };

static char *memory;
static size_t page;

static void *toucher(void *argument)
{
	expect_pattern(memory, PAGES * page, (uintptr_t)argument, "data of UFFDIO_COPY");
	return NULL;
}

int main(void)
{
	int fd = need(syscall(SYS_userfaultfd, O_CLOEXEC), "userfaultfd");
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range;
	char *source;

	page = page_size();
	source = map_anonymous(PAGES * page);
	check(ioctl(fd, UFFDIO_API, &api), "UFFDIO_API");
	for (uintptr_t round = 0; round < ROUNDS; round++) {
		pthread_t thread;

		memory = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		range = (struct uffdio_register){ .range = { (uintptr_t)memory, PAGES * page },
						  .mode = UFFDIO_REGISTER_MODE_MISSING };
		check(ioctl(fd, UFFDIO_REGISTER, &range), "UFFDIO_REGISTER");
		fill(source, PAGES * page, round);
		if (pthread_create(&thread, NULL, toucher, (void *)round))
			fail("pthread_create");
		for (int i = 0; i < PAGES; i++) {
			struct uffd_msg message;
			struct uffdio_copy copy = { .len = page };

			check(read(fd, &message, sizeof(message)), "read a fault");
			copy.dst = message.arg.pagefault.address & ~((uint64_t)page - 1);
			copy.src = (uintptr_t)source + (copy.dst - (uintptr_t)memory);
			check(ioctl(fd, UFFDIO_COPY, &copy), "UFFDIO_COPY");
		}
		pthread_join(thread, NULL);
		munmap(memory, PAGES * page);
	}
	return PASSED;
}
