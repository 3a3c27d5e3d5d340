/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* bpf(2) without libbpf: maps, and programs as arrays of instructions. */
#ifndef BPF_H
#define BPF_H

#include "mainline.h"
#include <linux/bpf.h>

#define INSTRUCTION(code_, dst, src, off_, imm_) \
	((struct bpf_insn){ .code = (code_), .dst_reg = (dst), .src_reg = (src), .off = (off_), .imm = (imm_) })
#define MOVE_REG(dst, src) INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define MOVE_IMM(dst, imm) INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm)
#define ADD_IMM(dst, imm) INSTRUCTION(BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, imm)
#define STORE_REG64(dst, off, src) INSTRUCTION(BPF_STX | BPF_DW | BPF_MEM, dst, src, off, 0)
#define LOAD_REG32(dst, src, off) INSTRUCTION(BPF_LDX | BPF_W | BPF_MEM, dst, src, off, 0)
/* Two instructions: loads the address of a map. */
#define LOAD_MAP(dst, fd) \
	INSTRUCTION(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, fd), INSTRUCTION(0, 0, 0, 0, 0)
#define CALL(function) INSTRUCTION(BPF_JMP | BPF_CALL, 0, 0, 0, function)
#define EXIT() INSTRUCTION(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

HELPER long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

HELPER int bpf_map(int type, int flags, int key, int value, int entries)
{
	union bpf_attr attr = { .map_type = type, .map_flags = flags, .key_size = key, .value_size = value,
				.max_entries = entries };

	return need(bpf(BPF_MAP_CREATE, &attr), "BPF_MAP_CREATE");
}

HELPER int bpf_socket_filter(const struct bpf_insn *instructions, size_t count)
{
	static char log[16384];
	union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insns = (uintptr_t)instructions,
				.insn_cnt = count, .license = (uintptr_t)"GPL", .log_buf = (uintptr_t)log,
				.log_size = sizeof(log), .log_level = 1 };
	long fd = bpf(BPF_PROG_LOAD, &attr);

	if (fd < 0 && errno != ENOSYS)
		printf("%s\n", log);
	return need(fd, "BPF_PROG_LOAD");
}

/* Runs a socket filter on a packet and returns its result. */
HELPER unsigned int bpf_run(int program, const void *packet, size_t length)
{
	union bpf_attr attr = { .test = { .prog_fd = program, .data_in = (uintptr_t)packet, .data_size_in = length } };

	need(bpf(BPF_PROG_TEST_RUN, &attr), "BPF_PROG_TEST_RUN");
	return attr.test.retval;
}

#endif
