// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
	int file = open("/tmp/page", O_RDWR | O_CREAT, 0600);
	ftruncate(file, 4096);
	volatile int *writer = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	/* The same page, at an address of the next colour. */
	void *place = (char *)writer + 0x101000;
	volatile int *reader = mmap(place, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 0);

	printf("before: %d\n", *reader);
	*writer = 1;
	printf("after: %d\n", *reader);
	return 0;
}
