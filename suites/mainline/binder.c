/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Sends transactions through binder. The driver copies the data into pages that the receiver has mapped read-only
 * (drivers/android/binder_alloc.c).
 */
#include "mainline.h"
#include <linux/android/binder.h>

/* Many pages, as one has the right colour by chance. All one-way transactions together fit into half of the mapping. */
enum { SIZE = 1 << 21, PAYLOAD = 32000, ROUNDS = 20 };

static void exchange(int fd, void *send, size_t send_size, void *receive, size_t receive_size, size_t *received)
{
	struct binder_write_read io = { .write_buffer = (uintptr_t)send, .write_size = send_size,
					.read_buffer = (uintptr_t)receive, .read_size = receive_size };

	check(ioctl(fd, BINDER_WRITE_READ, &io), "BINDER_WRITE_READ");
	if (received)
		*received = io.read_consumed;
}

struct __attribute__((packed)) transaction {
	uint32_t command;
	struct binder_transaction_data data;
};

/* Receives one-way transactions as the context manager, and checks the data. */
static void manager(int fd)
{
	uint32_t enter = BC_ENTER_LOOPER;
	char commands[512];

	exchange(fd, &enter, sizeof(enter), NULL, 0, NULL);
	for (int round = 0; round < ROUNDS;) {
		size_t size, at = 0;

		exchange(fd, NULL, 0, commands, sizeof(commands), &size);
		while (at + sizeof(uint32_t) <= size) {
			uint32_t command;

			memcpy(&command, commands + at, sizeof(command));
			at += sizeof(command);
			if (command == BR_TRANSACTION) {
				struct binder_transaction_data data;
				struct __attribute__((packed)) {
					uint32_t command;
					binder_uintptr_t buffer;
				} done = { .command = BC_FREE_BUFFER };

				memcpy(&data, commands + at, sizeof(data));
				expect_pattern((void *)(uintptr_t)data.data.ptr.buffer, PAYLOAD, round, "received data");
				done.buffer = data.data.ptr.buffer;
				exchange(fd, &done, sizeof(done), NULL, 0, NULL);
				round++;
			}
			at += _IOC_SIZE(command);
		}
	}
	_exit(PASSED);
}

int main(void)
{
	static char payload[PAYLOAD];
	struct binderfs_device { char name[256]; uint32_t major, minor; } device = { .name = "mainline" };
	int control, fd, ready[2];
	char token = 0;
	pid_t child;

	mount_at("binder", "/tmp/binder");
	control = need(open("/tmp/binder/binder-control", O_RDWR), "open binder-control");
	if (ioctl(control, _IOWR('b', 1, struct binderfs_device), &device) < 0 && errno != EEXIST)
		check(-1, "BINDER_CTL_ADD");
	check(pipe(ready), "pipe");
	child = check(fork(), "fork");
	fd = check(open("/tmp/binder/mainline", O_RDWR | O_CLOEXEC), "open the binder device");
	if (mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED)
		fail("mmap of the binder device: %s", strerror(errno));
	if (child == 0) {
		int zero = 0;

		check(ioctl(fd, BINDER_SET_CONTEXT_MGR, &zero), "BINDER_SET_CONTEXT_MGR");
		check(write(ready[1], &token, 1), "write");
		manager(fd);
	}
	check(read(ready[0], &token, 1), "read");
	for (int round = 0; round < ROUNDS; round++) {
		struct transaction transaction = { .command = BC_TRANSACTION,
						   .data = { .flags = TF_ONE_WAY, .data_size = PAYLOAD } };
		char answers[256];

		fill(payload, PAYLOAD, round);
		transaction.data.data.ptr.buffer = (uintptr_t)payload;
		exchange(fd, &transaction, sizeof(transaction), answers, sizeof(answers), NULL);
	}
	expect_success(child, "the receiver");
	close(fd);
	close(control);
	umount("/tmp/binder");
	return PASSED;
}
