/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The server: a filesystem with one file. Each client that maps the file gets the page with ID 0, which contains the
 * ring. read() of the file returns the number of messages and the sum of their values.
 */
#define FUSE_USE_VERSION 317

#include "ring.h"

#include <fuse_lowlevel.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define FILE_INODE 2

static struct fuse_session *session;
static struct ring *ring = MAP_FAILED;
static uint64_t messages, sum;

/* Takes messages out of the ring. */
static void *consume(void *unused)
{
	for (;;) {
		ring_lock(ring);
		uint32_t taken = ring->taken;
		if (taken == ring->put) {
			ring_unlock(ring);
			ring_wait(&ring->put, taken);
			continue;
		}
		messages++;
		sum += ring->slots[taken % RING_SLOTS].value;
		ring_advance(&ring->taken);
		ring_unlock(ring);
	}
	return unused;
}

/* Makes the ring. The connection must be initialised already, so the first open() does this. Returns an error number. */
static int create_ring(void)
{
	pthread_mutexattr_t attributes;
	pthread_t consumer;

	if (ring != MAP_FAILED)
		return 0;
	void *page = fuse_session_map_pages(session, 0, sizeof(struct ring), PROT_READ | PROT_WRITE);
	if (page == MAP_FAILED)
		return errno;
	ring = page;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&ring->lock, &attributes);
	pthread_mutexattr_destroy(&attributes);
	return pthread_create(&consumer, NULL, consume, NULL);
}

static struct stat attributes_of(fuse_ino_t inode)
{
	if (inode == FUSE_ROOT_ID)
		return (struct stat){ .st_ino = inode, .st_mode = S_IFDIR | 0755, .st_nlink = 2 };
	return (struct stat){ .st_ino = inode, .st_mode = S_IFREG | 0600, .st_nlink = 1, .st_size = getpagesize() };
}

static void on_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = { .ino = FILE_INODE, .attr = attributes_of(FILE_INODE) };

	if (parent == FUSE_ROOT_ID && strcmp(name, "ring") == 0)
		fuse_reply_entry(request, &entry);
	else
		fuse_reply_err(request, ENOENT);
}

static void on_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
	struct stat attributes = attributes_of(inode);

	(void)file;
	fuse_reply_attr(request, &attributes, 1.0);
}

static void on_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
	int error = create_ring();

	(void)inode;
	file->dmmap = 1;	/* mmap() of this file calls on_mmap() */
	file->direct_io = 1;	/* read() of this file calls on_read() each time */
	if (error)
		fuse_reply_err(request, error);
	else
		fuse_reply_open(request, file);
}

static void on_mmap(fuse_req_t request, fuse_ino_t inode, const struct fuse_mmap_param *mapping,
		    struct fuse_file_info *file)
{
	(void)inode;
	(void)file;
	if (mapping->offset != 0 || mapping->length > (size_t)getpagesize())
		fuse_reply_err(request, ENXIO);
	else
		fuse_reply_mmap(request, 0, 0);	/* the page with ID 0 */
}

static void on_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, struct fuse_file_info *file)
{
	char text[64];

	(void)inode;
	(void)file;
	ring_lock(ring);
	size_t length = snprintf(text, sizeof(text), "%llu messages, sum %llu\n", (unsigned long long)messages,
				 (unsigned long long)sum);
	ring_unlock(ring);
	if ((size_t)offset >= length)
		fuse_reply_buf(request, NULL, 0);
	else
		fuse_reply_buf(request, text + offset, size < length - offset ? size : length - offset);
}

static void on_init(void *userdata, struct fuse_conn_info *connection)
{
	(void)userdata;
	if (!fuse_get_feature_flag(connection, FUSE_CAP_DMMAP))
		fprintf(stderr, "ring: this kernel does not have direct mmap\n");
}

static const struct fuse_lowlevel_ops operations = {
	.init = on_init,
	.lookup = on_lookup,
	.getattr = on_getattr,
	.open = on_open,
	.read = on_read,
	.mmap = on_mmap,
};

int ring_serve(const char *dir)
{
	char *words[] = { "ring", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, words);
	int status = 1;

	session = fuse_session_new(&args, &operations, sizeof(operations), NULL);
	if (!session)
		return status;
	if (fuse_set_signal_handlers(session) == 0) {
		if (fuse_session_mount(session, dir) == 0) {
			status = fuse_session_loop(session) < 0;
			fuse_session_unmount(session);
		}
		fuse_remove_signal_handlers(session);
	}
	fuse_session_destroy(session);
	/* The consumer uses the ring until the process exits. */
	return status;
}
