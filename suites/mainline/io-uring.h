/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* An io_uring without liburing: the rings, and one request at a time. */
#ifndef IO_URING_H
#define IO_URING_H

#include "mainline.h"
#include <linux/io_uring.h>

#ifndef __NR_io_uring_setup
#define __NR_io_uring_setup 425
#define __NR_io_uring_enter 426
#define __NR_io_uring_register 427
#endif

#define load_acquire(address) __atomic_load_n(address, __ATOMIC_ACQUIRE)
#define store_release(address, value) __atomic_store_n(address, value, __ATOMIC_RELEASE)

struct ring {
	int fd;
	unsigned int *sq_head, *sq_tail, *sq_array, sq_mask;
	unsigned int *cq_head, *cq_tail, cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

/* Creates a ring with `entries` requests and maps it. */
HELPER struct ring ring_setup(unsigned int entries, unsigned int flags)
{
	struct io_uring_params params = { .flags = flags };
	size_t sqe_size = flags & IORING_SETUP_SQE128 ? 128 : 64;
	size_t cqe_size = flags & IORING_SETUP_CQE32 ? 32 : 16;
	struct ring ring;
	char *sq, *cq;

	ring.fd = need(syscall(__NR_io_uring_setup, entries, &params), "io_uring_setup");
	sq = map_shared(ring.fd, params.sq_off.array + params.sq_entries * sizeof(unsigned int), IORING_OFF_SQ_RING,
			"the submission queue");
	cq = map_shared(ring.fd, params.cq_off.cqes + params.cq_entries * cqe_size, IORING_OFF_CQ_RING,
			"the completion queue");
	ring.sqes = map_shared(ring.fd, params.sq_entries * sqe_size, IORING_OFF_SQES, "the submission queue entries");
	ring.sq_head = (unsigned int *)(sq + params.sq_off.head);
	ring.sq_tail = (unsigned int *)(sq + params.sq_off.tail);
	ring.sq_array = (unsigned int *)(sq + params.sq_off.array);
	ring.sq_mask = *(unsigned int *)(sq + params.sq_off.ring_mask);
	ring.cq_head = (unsigned int *)(cq + params.cq_off.head);
	ring.cq_tail = (unsigned int *)(cq + params.cq_off.tail);
	ring.cqes = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
	ring.cq_mask = *(unsigned int *)(cq + params.cq_off.ring_mask);
	return ring;
}

/* Submits `request` and returns the result of its completion. Not for rings with large entries. */
HELPER int ring_do(struct ring *ring, const struct io_uring_sqe *request)
{
	unsigned int tail = *ring->sq_tail, head = *ring->cq_head;
	struct io_uring_cqe *cqe;
	int result;

	ring->sqes[tail & ring->sq_mask] = *request;
	ring->sq_array[tail & ring->sq_mask] = tail & ring->sq_mask;
	store_release(ring->sq_tail, tail + 1);
	if (check(syscall(__NR_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0), "io_uring_enter") != 1)
		fail("io_uring_enter did not take the request: the kernel did not see the new tail");
	if (load_acquire(ring->cq_tail) == head)
		fail("the tail of the completion queue did not move");
	cqe = &ring->cqes[head & ring->cq_mask];
	if (cqe->user_data != request->user_data)
		fail("completion %u: expected user_data %llu, found %llu", head,
		     (unsigned long long)request->user_data, (unsigned long long)cqe->user_data);
	result = cqe->res;
	store_release(ring->cq_head, head + 1);
	return result;
}

#endif
