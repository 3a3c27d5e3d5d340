/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A boot ROM that switches a PC to 64-bit mode, counts to a hundred million and writes 0x2a to port 0xf4, where
 * QEMU's isa-debug-exit listens. A shorter loop would not prove that KVM works: on some hosts without hardware
 * virtualisation, KVM interprets every instruction of the guest, at about a microsecond each. A short program
 * finishes there, but a kernel seems to hang. This loop takes at most 0.1 s in hardware, and 0.5 s under TCG.
 *
 * accel.rs contains the assembled bytes, and a test compares them with this source.
 */
	.set	ROM, 0xffff0000		/* QEMU puts the last byte of a ROM at the top of 4 GiB. */

	.code16
start:	cli
	lgdtl	%cs:gdtr
	mov	%cr0, %eax
	or	$1, %al			/* protection */
	mov	%eax, %cr0
	ljmpl	$0x08, $ROM + prot

	.code32
prot:	mov	$0x10, %eax
	mov	%eax, %ds
	/* Page tables, in RAM that QEMU has zeroed. Only the 2 MiB with this ROM must be mapped. */
	movl	$0x2003, 0x1000		/* level 4, entry 0 -> level 3 */
	movl	$0x3003, 0x2018		/* level 3, entry 3 -> level 2 */
	movl	$0xffe00083, 0x3ff8	/* level 2, entry 511: a large page */
	mov	$0x1000, %eax
	mov	%eax, %cr3
	mov	$0x20, %eax		/* physical address extension */
	mov	%eax, %cr4
	mov	$0xc0000080, %ecx	/* EFER */
	rdmsr
	or	$1, %ah			/* long mode enable */
	wrmsr
	mov	%cr0, %eax
	bts	$31, %eax		/* paging */
	mov	%eax, %cr0
	ljmp	$0x18, $ROM + long

	.code64
long:	mov	$100000000, %ecx
1:	dec	%ecx
	jnz	1b
	mov	$0x2a, %al
	out	%al, $0xf4
2:	hlt
	jmp	2b

	.balign	8, 0
gdt:	.quad	0
	.quad	0x00cf9b000000ffff	/* 0x08: 32-bit code */
	.quad	0x00cf93000000ffff	/* 0x10: data */
	.quad	0x00af9b000000ffff	/* 0x18: 64-bit code */
gdtr:	.word	gdtr - gdt - 1
	.long	ROM + gdt

	.org	0xfff0			/* where a PC starts */
	.code16
	jmp	start
	.org	0x10000
