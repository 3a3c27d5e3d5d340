/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Writes a shared mapping of a FUSE file back, several times. FUSE copies each dirty page through the kernel's address
 * before it sends the copy to the server (fs/fuse/file.c). The server is a child of this process.
 */
#include "mainline.h"
#include <linux/fuse.h>

enum { PAGES = 8, ROUNDS = 4, ROOT = 1, FILE_NODE = 2, BUFFER = 1 << 18 };

static size_t length;

static void reply(int fd, uint64_t unique, int error, const void *data, size_t size)
{
	struct fuse_out_header header = { .len = sizeof(header) + size, .error = error, .unique = unique };
	struct iovec parts[] = { { &header, sizeof(header) }, { (void *)data, size } };

	if (writev(fd, parts, size ? 2 : 1) < 0 && errno != ENOENT)
		fail("server: reply to a request: %s", strerror(errno));
}

static struct fuse_attr attributes(uint64_t node)
{
	return (struct fuse_attr){ .ino = node, .size = node == FILE_NODE ? length : 0, .nlink = 1, .blksize = 4096,
				   .mode = node == FILE_NODE ? S_IFREG | 0644 : S_IFDIR | 0755 };
}

/* Answers requests until the filesystem is unmounted. Stores what it is sent in `contents`, which the parent sees. */
static void serve(int fd, char *contents)
{
	char *buffer = map_anonymous(BUFFER);

	for (;;) {
		ssize_t size = read(fd, buffer, BUFFER);
		struct fuse_in_header *in = (struct fuse_in_header *)buffer;
		void *argument = buffer + sizeof(*in);

		if (size < 0 && errno == ENODEV)
			_exit(PASSED);
		if (size < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT))
			continue;
		check(size, "server: read a request");
		switch (in->opcode) {
		case FUSE_INIT: {
			struct fuse_init_out out = { .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
						     .max_readahead = 65536, .max_write = 65536,
						     .flags = FUSE_BIG_WRITES | FUSE_MAX_PAGES, .max_pages = 16 };

			reply(fd, in->unique, 0, &out, sizeof(out));
			break;
		}
		case FUSE_LOOKUP: {
			struct fuse_entry_out out = { .nodeid = FILE_NODE, .attr_valid = 60, .entry_valid = 60,
						      .attr = attributes(FILE_NODE) };

			reply(fd, in->unique, 0, &out, sizeof(out));
			break;
		}
		case FUSE_GETATTR:
		case FUSE_SETATTR: {
			struct fuse_attr_out out = { .attr_valid = 60, .attr = attributes(in->nodeid) };

			reply(fd, in->unique, 0, &out, sizeof(out));
			break;
		}
		case FUSE_OPEN: {
			struct fuse_open_out out = { .fh = 1 };

			reply(fd, in->unique, 0, &out, sizeof(out));
			break;
		}
		case FUSE_READ: {
			struct fuse_read_in *read = argument;
			size_t left = read->offset < length ? length - read->offset : 0;

			reply(fd, in->unique, 0, contents + read->offset, read->size < left ? read->size : left);
			break;
		}
		case FUSE_WRITE: {
			struct fuse_write_in *write = argument;
			struct fuse_write_out out = { .size = write->size };

			if (write->offset + write->size > length)
				fail("server: a write beyond the end of the file");
			memcpy(contents + write->offset, write + 1, write->size);
			reply(fd, in->unique, 0, &out, sizeof(out));
			break;
		}
		case FUSE_FLUSH:
		case FUSE_FSYNC:
		case FUSE_RELEASE:
			reply(fd, in->unique, 0, NULL, 0);
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			break;
		default:
			reply(fd, in->unique, -ENOSYS, NULL, 0);
		}
	}
}

int main(void)
{
	int fd = need(open("/dev/fuse", O_RDWR | O_CLOEXEC), "open /dev/fuse"), file;
	char options[128], *contents, *mapping;
	pid_t server;

	length = PAGES * page_size();
	mkdir("/tmp/fuse-writeback", 0755);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	need(mount("mainline", "/tmp/fuse-writeback", "fuse", 0, options), "mount fuse");
	contents = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	server = check(fork(), "fork");
	if (server == 0)
		serve(fd, contents);
	close(fd);
	file = check(open("/tmp/fuse-writeback/file", O_RDWR), "open the file");
	mapping = map_shared(file, length, 0, "the file");
	for (int round = 0; round < ROUNDS; round++) {
		fill(mapping, length, round);
		check(msync(mapping, length, MS_SYNC), "msync");
		expect_pattern(contents, length, round, "data that the server received");
	}
	munmap(mapping, length);
	close(file);
	check(umount2("/tmp/fuse-writeback", 0), "umount");
	rmdir("/tmp/fuse-writeback");
	expect_success(server, "the server");
	return PASSED;
}
