/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The client: a program that maps the file `ring` like any other file. It needs no library for that. */
#include "ring.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

static struct ring *map_ring(const char *path)
{
	int fd = open(path, O_RDWR);
	if (fd < 0) {
		perror(path);
		return NULL;
	}
	void *page = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED) {
		perror("mmap");
		page = NULL;
	}
	close(fd);	/* the mapping stays */
	return page;
}

static void put(struct ring *ring, uint32_t value)
{
	for (;;) {
		ring_lock(ring);
		uint32_t taken = ring->taken;
		if (ring->put - taken < RING_SLOTS)
			break;
		ring_unlock(ring);
		ring_wait(&ring->taken, taken);
	}
	ring->slots[ring->put % RING_SLOTS] = (struct ring_message){ .sender = getpid(), .value = value };
	ring_advance(&ring->put);
	ring_unlock(ring);
}

int ring_send(const char *path, uint32_t count)
{
	struct ring *ring = map_ring(path);

	if (!ring)
		return 1;
	for (uint32_t value = 1; value <= count; value++)
		put(ring, value);
	return 0;
}

int ring_die(const char *path)
{
	struct ring *ring = map_ring(path);

	if (!ring)
		return 1;
	ring_lock(ring);
	_exit(0);
}
