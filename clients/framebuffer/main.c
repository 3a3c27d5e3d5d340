/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The program `framebuffer`: the device, or a test of it with programs that know nothing of direct mmap.
 *
 *	framebuffer serve NAME	serve the device /dev/NAME in the foreground
 *	framebuffer test NAME	run `fbset` and `fbcat` of Debian on the device, and compare what they show
 *
 * Exit status: 0 for success, 1 for a failure, and 4 if the kernel does not have direct mmap.
 */
#include "framebuffer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAMS "/programs/debian/"
#define SKIPPED 4

static void __attribute__((noreturn)) fail(const char *what, const char *about)
{
	printf("%s: %s\n", what, about);
	exit(1);
}

/* Runs a program of Debian on the device. Returns its output, of at most `size` bytes, and its length. */
static size_t output_of(const char *program, char *const words[], char *output, size_t size)
{
	int ends[2], status;
	size_t length = 0;
	ssize_t got;

	if (pipe(ends) < 0)
		fail("pipe", strerror(errno));
	pid_t pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		execv(program, words);
		perror(program);
		_exit(127);
	}
	close(ends[1]);
	while (length < size && (got = read(ends[0], output + length, size - length)) > 0)
		length += got;
	close(ends[0]);
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
		fail(program, "failed");
	return length;
}

/* fbset prints the mode that the device reports. */
static void test_fbset(char *device)
{
	char *words[] = { "fbset", "-fb", device, NULL };
	char output[4096], expected[64];

	output[output_of(PROGRAMS "fbset", words, output, sizeof(output) - 1)] = 0;
	snprintf(expected, sizeof(expected), "geometry %d %d %d %d 32", WIDTH, HEIGHT, WIDTH, HEIGHT);
	if (!strstr(output, expected)) {
		printf("fbset printed:\n%s", output);
		fail("fbset did not print", expected);
	}
}

/* fbcat maps the device and writes a PPM file, which must be the picture that the device shows. */
static void test_fbcat(char *device, unsigned int number)
{
	static char output[3 * WIDTH * HEIGHT + 64];
	char *words[] = { "fbcat", device, NULL };
	char header[32];
	int fd = open(device, O_RDWR);

	snprintf(header, sizeof(header), "%u", number);
	if (fd < 0 || write(fd, header, strlen(header)) < 0)
		fail(device, strerror(errno));
	close(fd);

	size_t length = output_of(PROGRAMS "fbcat", words, output, sizeof(output));
	size_t start = snprintf(header, sizeof(header), "P6 %d %d 255\n", WIDTH, HEIGHT);
	if (length != start + 3 * WIDTH * HEIGHT || memcmp(output, header, start))
		fail("fbcat", "the picture has another size");
	unsigned char *found = (unsigned char *)output + start;
	for (unsigned int y = 0; y < HEIGHT; y++)
		for (unsigned int x = 0; x < WIDTH; x++, found += 3) {
			pixel_t pixel = found[0] << 16 | found[1] << 8 | found[2];

			if (pixel == picture_pixel(number, x, y))
				continue;
			printf("picture %u, pixel %u,%u: expected 0x%06x, found 0x%06x\n", number, x, y,
			       picture_pixel(number, x, y), pixel);
			exit(1);
		}
}

/* Waits until the device exists. */
static void await(const char *device, pid_t server)
{
	for (int tries = 0; tries < 1000; tries++) {
		int fd = open(device, O_RDWR);

		if (fd >= 0) {
			close(fd);
			return;
		}
		if (errno == ENODEV && access(device, F_OK) == 0) {
			kill(server, SIGTERM);
			printf("the kernel does not have direct mmap\n");
			exit(SKIPPED);
		}
		if (waitpid(server, NULL, WNOHANG) == server)
			fail(device, "the server has ended");
		usleep(10000);
	}
	fail(device, strerror(errno));
}

static int test(const char *name)
{
	char device[64];
	int status;
	pid_t server = fork();

	if (server == 0)
		_exit(framebuffer_serve(name));
	snprintf(device, sizeof(device), "/dev/%s", name);
	await(device, server);
	test_fbset(device);
	for (unsigned int number = 0; number < 4; number++)
		test_fbcat(device, number);
	kill(server, SIGTERM);
	if (waitpid(server, &status, 0) < 0 || status != 0)
		fail("the server", "failed");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		return framebuffer_serve(argv[2]);
	if (argc == 3 && strcmp(argv[1], "test") == 0)
		return test(argv[2]);
	fprintf(stderr, "usage: framebuffer serve NAME | test NAME\n");
	return 2;
}
