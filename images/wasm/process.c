// SPDX-License-Identifier: MIT OR Apache-2.0
/* Imports: processes. */
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys.h"

/* Maximum number of arguments of a program. */
#define ARGS_MAX 64

u64 IMPORT(args)(SYS, u32 into, u32 room)
{
	struct strings args = { .into = guest_bytes(sys, into, room), .room = room };
	int i;

	for (i = 0; i < sys->argc; i++)
		strings_add(&args, sys->argv[i]);
	return args.len;
}

u32 IMPORT(own_pid)(SYS)
{
	return getpid();
}

u64 IMPORT(fork)(SYS)
{
	return guest_result(fork());
}

u64 IMPORT(exec)(SYS, u32 path, u32 args, u32 count)
{
	char *argv[ARGS_MAX + 1];
	char *none[] = { NULL };
	u32 i;

	if (count > ARGS_MAX)
		return -E2BIG;
	for (i = 0; i < count; i++) {
		argv[i] = (char *)guest_string(sys, args);
		args += strlen(argv[i]) + 1;
	}
	argv[count] = NULL;
	return guest_result(execve(guest_string(sys, path), argv, none));
}

void IMPORT(exit)(SYS, u32 code)
{
	_exit(code);
}

u64 IMPORT(wait)(SYS, u32 pid, u32 block)
{
	int status;
	s64 ended = retry_interrupted(waitpid(pid, &status, block ? 0 : WNOHANG));

	if (ended <= 0)
		return ended;
	return (u64)ended << 32 | (WIFSIGNALED(status) ? 0x100 | WTERMSIG(status) : WEXITSTATUS(status));
}

u64 IMPORT(kill)(SYS, u32 pid, u32 signal)
{
	return guest_result(kill(pid, signal));
}

u64 IMPORT(new_session)(SYS)
{
	return guest_result(setsid());
}

u64 IMPORT(die_with_parent)(SYS)
{
	return guest_result(prctl(PR_SET_PDEATHSIG, SIGKILL));
}

u64 IMPORT(name_process)(SYS, u32 name)
{
	return guest_result(prctl(PR_SET_NAME, guest_string(sys, name)));
}

u64 IMPORT(become_user)(SYS, u32 id)
{
	if (setgroups(0, NULL) || setresgid(id, id, id) || setresuid(id, id, id))
		return guest_result(-1);
	return geteuid() == id ? 0 : -EPERM;
}

u64 IMPORT(limit_locked_memory)(SYS, u64 bytes)
{
	struct rlimit limit = { .rlim_cur = bytes, .rlim_max = bytes };
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (setrlimit(RLIMIT_MEMLOCK, &limit) || syscall(SYS_capget, &header, data))
		return guest_result(-1);
	data[0].effective &= ~(1U << CAP_IPC_LOCK);
	data[0].permitted &= ~(1U << CAP_IPC_LOCK);
	return guest_result(syscall(SYS_capset, &header, data));
}

u64 IMPORT(run_on_processor)(SYS, u32 number)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(number, &set);
	return guest_result(sched_setaffinity(0, sizeof(set), &set));
}

void IMPORT(yield_now)(SYS)
{
	sched_yield();
}
