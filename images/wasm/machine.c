// SPDX-License-Identifier: MIT OR Apache-2.0
/* Imports: the machine as a whole, and its clock. */
#include <fcntl.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "sys.h"

#define NANOS 1000000000u

u64 IMPORT(uname)(SYS, u32 into, u32 room)
{
	struct strings names = { .into = guest_bytes(sys, into, room), .room = room };
	struct utsname uts;

	if (uname(&uts))
		return guest_result(-1);
	strings_add(&names, uts.release);
	strings_add(&names, uts.machine);
	return names.len;
}

u32 IMPORT(page_size)(SYS)
{
	return sysconf(_SC_PAGESIZE);
}

u32 IMPORT(big_endian)(SYS)
{
	return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
}

void IMPORT(sync)(SYS)
{
	sync();
}

u64 IMPORT(load_module)(SYS, u32 fd, u32 parameters)
{
	return guest_result(syscall(SYS_finit_module, fd, guest_string(sys, parameters), 0));
}

u64 IMPORT(unload_module)(SYS, u32 name)
{
	return guest_result(syscall(SYS_delete_module, guest_string(sys, name), O_NONBLOCK));
}

u64 IMPORT(restart)(SYS)
{
	return guest_result(reboot(RB_AUTOBOOT));
}

u64 IMPORT(now)(SYS)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (u64)time.tv_sec * NANOS + time.tv_nsec;
}

void IMPORT(sleep)(SYS, u64 nanos)
{
	struct timespec left = { .tv_sec = nanos / NANOS, .tv_nsec = nanos % NANOS };

	while (nanosleep(&left, &left) == -1 && errno == EINTR)
		;
}
