// SPDX-License-Identifier: MIT OR Apache-2.0
/* Imports: file descriptors. */
#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include "sys.h"

u64 IMPORT(open)(SYS, u32 path, u32 flags, u32 mode)
{
	return retry_interrupted(open(guest_string(sys, path), flags, mode));
}

void IMPORT(close)(SYS, u32 fd)
{
	close(fd);
}

u64 IMPORT(read)(SYS, u32 fd, u32 into, u32 room)
{
	return retry_interrupted(read(fd, guest_bytes(sys, into, room), room));
}

u64 IMPORT(pread)(SYS, u32 fd, u32 into, u32 room, u64 offset)
{
	return retry_interrupted(pread(fd, guest_bytes(sys, into, room), room, offset));
}

u64 IMPORT(write)(SYS, u32 fd, u32 bytes, u32 len)
{
	return retry_interrupted(write(fd, guest_bytes(sys, bytes, len), len));
}

u64 IMPORT(pwrite)(SYS, u32 fd, u32 bytes, u32 len, u64 offset)
{
	return retry_interrupted(pwrite(fd, guest_bytes(sys, bytes, len), len, offset));
}

u64 IMPORT(fsync)(SYS, u32 fd)
{
	return guest_result(fsync(fd));
}

u64 IMPORT(ftruncate)(SYS, u32 fd, u64 size)
{
	return guest_result(ftruncate(fd, size));
}

u64 IMPORT(pipe)(SYS)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return guest_result(-1);
	return (u64)ends[0] << 32 | ends[1];
}

/* Maximum number of descriptors in a poll. The guest polls at most two. */
#define POLL_MAX 16

u64 IMPORT(poll)(SYS, u32 fds, u32 count, u32 millis, u32 ready)
{
	struct pollfd pollfds[POLL_MAX];
	const u8 *numbers = guest_bytes(sys, fds, count * 4);
	u8 *found = guest_bytes(sys, ready, count);
	u32 i, number;
	int result;

	if (count > POLL_MAX)
		return -EINVAL;
	for (i = 0; i < count; i++) {
		wasm_rt_memcpy(&number, numbers + 4 * i, sizeof(number));
		pollfds[i] = (struct pollfd){ .fd = number, .events = POLLIN };
	}
	result = poll(pollfds, count, millis);
	for (i = 0; result >= 0 && i < count; i++) {
		found[i] = pollfds[i].revents & POLLIN ? 1 : 0;
		if (pollfds[i].revents & (POLLHUP | POLLERR | POLLNVAL))
			found[i] |= 2;
	}
	return guest_result(result);
}

u64 IMPORT(make_raw)(SYS, u32 fd)
{
	struct termios mode;

	if (tcgetattr(fd, &mode))
		return guest_result(-1);
	cfmakeraw(&mode);
	cfsetspeed(&mode, B115200);
	return guest_result(tcsetattr(fd, TCSANOW, &mode));
}

u64 IMPORT(drain)(SYS, u32 fd)
{
	return guest_result(tcdrain(fd));
}

u64 IMPORT(duplicate)(SYS, u32 fd, u32 floor)
{
	return guest_result(fcntl(fd, F_DUPFD_CLOEXEC, floor));
}

u64 IMPORT(dup2)(SYS, u32 fd, u32 place)
{
	return guest_result(dup2(fd, place));
}
