/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The program `ring`: the server, a client, or a test that starts a server and several clients.
 *
 *	ring serve DIR		mount the filesystem, and serve it in the foreground
 *	ring send FILE COUNT	send messages with the values 1 to COUNT
 *	ring die FILE		die with the lock of the ring
 *	ring test DIR COUNT	run two clients, and others that die, and check what the server got
 *
 * Exit status: 0 for success, 1 for a failure, and 4 if the kernel does not have direct mmap.
 */
#include "ring.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SKIPPED 4

static pid_t start(int (*client)(const char *path, uint32_t count), const char *path, uint32_t count)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(client(path, count));
	return pid;
}

static int die(const char *path, uint32_t unused)
{
	(void)unused;
	return ring_die(path);
}

static int serve(const char *dir, uint32_t unused)
{
	(void)unused;
	return ring_serve(dir);
}

static int succeeded(pid_t pid)
{
	int status;

	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* Opens the file, once the filesystem has been mounted. */
static int open_ring(const char *path, pid_t server)
{
	for (int fd, tries = 0; tries < 1000; tries++) {
		fd = open(path, O_RDWR);
		if (fd >= 0 || errno == ENODEV || waitpid(server, NULL, WNOHANG) == server)
			return fd;
		usleep(10000);
	}
	return -1;
}

/* Runs two clients. Processes die with the lock meanwhile. Returns true if all messages arrived. */
static int exchange(const char *path, uint32_t count)
{
	char found[64], expected[64];
	pid_t clients[2];
	int ok = 1;

	for (int i = 0; i < 2; i++)
		clients[i] = start(ring_send, path, count);
	for (int i = 0; i < 5; i++)
		ok &= succeeded(start(die, path, 0));
	for (int i = 0; i < 2; i++)
		ok &= succeeded(clients[i]);

	snprintf(expected, sizeof(expected), "%llu messages, sum %llu\n", 2ULL * count, (count + 1ULL) * count);
	for (int tries = 0; tries < 1000; tries++) {
		int fd = open(path, O_RDONLY);
		ssize_t length = read(fd, found, sizeof(found) - 1);

		close(fd);
		if (length < 0)
			break;
		found[length] = 0;
		if (strcmp(found, expected) == 0)
			return ok;
		usleep(10000);
	}
	printf("expected %sfound %s", expected, found);
	return 0;
}

static int test(const char *dir, uint32_t count)
{
	char path[4096];
	int status = 1;

	snprintf(path, sizeof(path), "%s/ring", dir);
	mkdir(dir, 0755);
	pid_t server = start(serve, dir, 0);
	int fd = open_ring(path, server);
	if (fd >= 0) {
		close(fd);
		status = !exchange(path, count);
	} else if (errno == ENODEV) {
		printf("the kernel does not have direct mmap\n");
		status = SKIPPED;
	} else {
		perror(path);
	}
	kill(server, SIGTERM);
	if (!succeeded(server) && status == 0) {
		printf("the server failed\n");
		status = 1;
	}
	return status;
}

int main(int argc, char **argv)
{
	const char *command = argc > 2 ? argv[1] : "";
	uint32_t count = argc > 3 ? strtoul(argv[3], NULL, 0) : 0;

	if (strcmp(command, "serve") == 0 && argc == 3)
		return ring_serve(argv[2]);
	if (strcmp(command, "send") == 0 && argc == 4)
		return ring_send(argv[2], count);
	if (strcmp(command, "die") == 0 && argc == 3)
		return ring_die(argv[2]);
	if (strcmp(command, "test") == 0 && argc == 4)
		return test(argv[2], count);
	fprintf(stderr, "usage: ring serve DIR | send FILE COUNT | die FILE | test DIR COUNT\n");
	return 2;
}
