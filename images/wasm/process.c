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

/* Maximum number of arguments of a program, and of variables in its environment. */
#define WORDS_MAX 1024

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

/* Fills `list` with the `count` strings at `at`, and returns the address after them. */
static u32 guest_strings(SYS, char *list[], u32 at, u32 count)
{
	u32 i;

	for (i = 0; i < count; i++) {
		list[i] = (char *)guest_string(sys, at);
		at += strlen(list[i]) + 1;
	}
	list[count] = NULL;
	return at;
}

u64 IMPORT(exec)(SYS, u32 path, u32 words, u32 args, u32 env)
{
	char *argv[WORDS_MAX + 1];
	char *environment[WORDS_MAX + 1];

	if (args > WORDS_MAX || env > WORDS_MAX)
		return -E2BIG;
	words = guest_strings(sys, argv, words, args);
	guest_strings(sys, environment, words, env);
	return guest_result(execve(guest_string(sys, path), argv, environment));
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
