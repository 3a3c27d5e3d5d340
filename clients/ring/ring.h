/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A ring of messages in memory that a FUSE server shares with its clients. Clients put messages into the ring, and the
 * server takes them out.
 */
#ifndef RING_H
#define RING_H

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING_SLOTS 64

struct ring_message {
	uint32_t sender;
	uint32_t value;
};

/*
 * The ring contains the messages `taken` to `put` - 1, each in the slot of its number modulo RING_SLOTS. Both counters
 * wrap around. A process that dies with the lock leaves a ring without a half-written message, because the counters change
 * last.
 */
struct ring {
	pthread_mutex_t lock;	/* process-shared and robust */
	uint32_t put;		/* also the futex of the server, which waits for a message */
	uint32_t taken;		/* also the futex of clients, which wait for a free slot */
	struct ring_message slots[RING_SLOTS];
};

/* Locks the ring. If the last owner died with the lock, the ring is usable nevertheless. */
static inline void ring_lock(struct ring *ring)
{
	if (pthread_mutex_lock(&ring->lock) == EOWNERDEAD)
		pthread_mutex_consistent(&ring->lock);
}

static inline void ring_unlock(struct ring *ring)
{
	pthread_mutex_unlock(&ring->lock);
}

static inline long ring_futex(uint32_t *word, int operation, uint32_t value)
{
#ifdef SYS_futex_time64
	return syscall(SYS_futex_time64, word, operation, value, NULL, NULL, 0);
#else
	return syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
#endif
}

/*
 * Waits until `*counter` is no longer `seen`. A process-shared condition variable would not do: if a process dies while
 * it waits for one, others can wait for ever.
 */
static inline void ring_wait(uint32_t *counter, uint32_t seen)
{
	while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) == seen)
		ring_futex(counter, 0 /* FUTEX_WAIT */, seen);
}

/* Changes a counter, and wakes the processes that wait for it. */
static inline void ring_advance(uint32_t *counter)
{
	__atomic_add_fetch(counter, 1, __ATOMIC_RELEASE);
	ring_futex(counter, 1 /* FUTEX_WAKE */, INT_MAX);
}

/* Serves a filesystem with the file `ring` at the directory `dir`, until SIGTERM. Returns the exit status. */
int ring_serve(const char *dir);

/* Sends the messages 1 to `count` to the server of the file `path`. Returns the exit status. */
int ring_send(const char *path, uint32_t count);

/* Dies with the lock of the ring. Returns the exit status if that fails. */
int ring_die(const char *path);

#endif
