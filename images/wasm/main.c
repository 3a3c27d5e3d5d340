// SPDX-License-Identifier: MIT OR Apache-2.0
/* Starts the guest. */
#include <stdlib.h>

#include "sys.h"

int main(int argc, char **argv)
{
	static Z_guest_instance_t guest;
	struct Z_sys_instance_t sys = { .argc = argc, .argv = argv };

	check_compiler();
	/* Imports access the guest's memory, so set it before any code of the guest runs. */
	sys.memory = Z_guestZ_memory(&guest);
	Z_guest_init_module();
	Z_guest_instantiate(&guest, &sys);
	exit(Z_guestZ_main(&guest, 0, 0));
}
