/*
 * Locking and unlocking, without a call into Go, on trees that nobody else uses. Go has
 * lent such a tree to a cell (core/lent, core/process/lend.go), with the one lock that there
 * is or with none, and takes it back before it looks at it. Here is what a request does to
 * a tree with at most one lock: what core/tree would do, for the requests that are asked
 * for most. Each function returns 0 if it is not for it to decide: then nothing has
 * changed, and Go is asked.
 */
#ifndef GODLM_LENT_H
#define GODLM_LENT_H

#include <endian.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/dlm.h>
#include <time.h>

#define LENT_CELLS 1024
#define LENT_NUMBERS 2048
#define LENT_HAS_BLOCKING (1u << 24) /* dlm.HasBlocking */

/* A cell: core/lent's Cell, where the fields are explained. Guarded by busy. */
struct godlm_cell {
	_Alignas(64) _Atomic uint32_t busy;
	uint32_t lent;
	uint8_t kind, name_len, mode, used;
	uint32_t space;
	uint64_t lock;
	uint32_t number, last;
	uint64_t seq, token, stamp;
	uint32_t flags, timeout;
	uint8_t name[64];
	uint8_t value[32];
	uint64_t notprm, hint, blkrtn, cplrtn, valb;
	uint32_t writes, plain;
	uint64_t locks, converts, unlocks;
};

/* core/lent's Table. */
struct godlm_lent {
	_Atomic uint32_t closed, always;
	_Atomic int64_t lease;
	_Alignas(64) _Atomic uint32_t by_number[LENT_NUMBERS];
	struct godlm_cell cells[LENT_CELLS];
};

/* A new lock on a root resource, or a conversion, or an unlock, that is waited for. */
struct godlm_lent_request {
	uint64_t lock; /* not of a new lock */
	uint32_t space_kind, space_id;
	const uint8_t *name;
	uint32_t name_len;
	uint32_t mode, flags, plain, timeout;
	uint64_t notprm, hint, blkrtn, valb;
	const void *value; /* with DLM_VALB */
};

struct godlm_lent_answer {
	uint64_t lock; /* of a new one */
	int32_t status;
	int32_t read;
	uint8_t value[32]; /* if read */
};

static inline uint64_t godlm_lent_mix(uint64_t h, uint64_t w)
{
	h = (h ^ w) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 32;
}

static inline uint32_t godlm_lent_hash(uint32_t kind, uint32_t space, const uint8_t *name, uint32_t len)
{
	uint64_t h = ((uint64_t)kind << 32 | space) ^ (uint64_t)len << 40, w;

	for (; len >= 8; len -= 8, name += 8) {
		memcpy(&w, name, 8);
		h = godlm_lent_mix(h, le64toh(w));
	}
	w = 0;
	while (len > 0)
		w = w << 8 | name[--len];
	return (uint32_t)godlm_lent_mix(h, w);
}

static inline int godlm_lent_writer(uint32_t mode)
{
	return mode >= DLM_PWMODE;
}

/*
 * Seizes a cell that is lent; NULL if it is not, or somebody else is there: another thread,
 * which may have lost the processor, or Go.
 */
static inline struct godlm_cell *godlm_lent_seize(struct godlm_lent *t, struct godlm_cell *c)
{
	int64_t lease;
	struct timespec now;

	if (atomic_exchange_explicit(&c->busy, 1, memory_order_acquire) != 0)
		return NULL;
	lease = atomic_load_explicit(&t->lease, memory_order_relaxed);
	if (c->lent && !atomic_load_explicit(&t->closed, memory_order_seq_cst)) {
		if (lease == 0)
			return c;
		if (clock_gettime(CLOCK_BOOTTIME, &now) == 0 && now.tv_sec * 1000000000LL + now.tv_nsec < lease)
			return c;
	}
	atomic_store_explicit(&c->busy, 0, memory_order_release);
	return NULL;
}

static inline int godlm_lent_release(struct godlm_cell *c, int done)
{
	c->used |= (uint8_t)done;
	atomic_store_explicit(&c->busy, 0, memory_order_release);
	return done;
}

/* The request's mode is granted. */
static inline void godlm_lent_grant(struct godlm_lent *t, struct godlm_cell *c, const struct godlm_lent_request *q,
                                    struct godlm_lent_answer *a)
{
	c->mode = (uint8_t)q->mode;
	c->flags = q->flags | atomic_load_explicit(&t->always, memory_order_relaxed);
	if (q->blkrtn)
		c->flags |= LENT_HAS_BLOCKING;
	c->token = godlm_lent_writer(q->mode) ? ++c->seq : 0;
	c->notprm = q->notprm;
	c->hint = q->hint;
	c->blkrtn = q->blkrtn;
	c->cplrtn = 0;
	c->valb = q->valb;
	c->timeout = q->timeout;
	a->status = q->flags & DLM_SYNCSTS ? DLM_SYNCH : DLM_SUCCESS;
}

static inline void godlm_lent_read(const struct godlm_cell *c, struct godlm_lent_answer *a)
{
	a->read = 1;
	memcpy(a->value, c->value, sizeof a->value);
}

static inline void godlm_lent_write(struct godlm_cell *c, const void *value)
{
	memcpy(c->value, value, sizeof c->value);
	c->writes++;
	c->stamp = ++c->seq;
}

#define LENT_LOCK_FLAGS (DLM_NOQUEUE | DLM_SYNCSTS | DLM_NODLCKWT | DLM_NODLCKBLK | DLM_EXPEDITE | DLM_VALB)

static inline int godlm_lent_lock(struct godlm_lent *t, const struct godlm_lent_request *q, struct godlm_lent_answer *a)
{
	struct godlm_cell *c;

	if (q->flags & ~LENT_LOCK_FLAGS)
		return 0;
	c = &t->cells[godlm_lent_hash(q->space_kind, q->space_id, q->name, q->name_len) % LENT_CELLS];
	c = godlm_lent_seize(t, c);
	if (c == NULL)
		return 0;
	if (c->lock != 0 || c->name_len != q->name_len || c->space != q->space_id || c->kind != q->space_kind ||
	    memcmp(c->name, q->name, q->name_len) != 0)
		return godlm_lent_release(c, 0);
	if (++c->last == 0)
		c->last = 1;
	a->lock = c->lock = (uint64_t)c->last << 32 | c->number;
	c->plain = q->plain;
	godlm_lent_grant(t, c, q, a);
	a->read = 0;
	if (q->flags & DLM_VALB)
		godlm_lent_read(c, a);
	c->locks++;
	return godlm_lent_release(c, 1);
}

/* The cell of a lock; NULL if it is in none. */
static inline struct godlm_cell *godlm_lent_find(struct godlm_lent *t, uint64_t lock)
{
	uint32_t i = atomic_load_explicit(&t->by_number[(uint32_t)lock % LENT_NUMBERS], memory_order_relaxed);
	struct godlm_cell *c = godlm_lent_seize(t, &t->cells[i % LENT_CELLS]);

	if (c != NULL && (lock == 0 || c->lock != lock)) {
		godlm_lent_release(c, 0);
		return NULL;
	}
	return c;
}

/* What DLM_VALB does on a conversion (spec §7.2): core/mode's OnConvert. */
enum { LENT_LEAVE, LENT_READ, LENT_WRITE };

static inline int godlm_lent_move(uint32_t from, uint32_t to)
{
	if (from == DLM_EXMODE || (from == DLM_PWMODE && to != DLM_EXMODE))
		return LENT_WRITE;
	return to >= from ? LENT_READ : LENT_LEAVE;
}

/* Whether DLM_QUECVT may be given (D-16): core/mode's QueueableConversion. */
static inline int godlm_lent_queueable(uint32_t from, uint32_t to)
{
	return to > from || (from == DLM_PRMODE && to == DLM_CWMODE);
}

#define LENT_CVT_FLAGS (DLM_NOQUEUE | DLM_SYNCSTS | DLM_NODLCKWT | DLM_NODLCKBLK | DLM_QUECVT | DLM_VALB)

static inline int godlm_lent_convert(struct godlm_lent *t, const struct godlm_lent_request *q, struct godlm_lent_answer *a)
{
	struct godlm_cell *c;
	int move;

	if (q->flags & ~LENT_CVT_FLAGS)
		return 0;
	c = godlm_lent_find(t, q->lock);
	if (c == NULL)
		return 0;
	if (q->flags & DLM_QUECVT && !godlm_lent_queueable(c->mode, q->mode))
		return godlm_lent_release(c, 0);
	move = q->flags & DLM_VALB ? godlm_lent_move(c->mode, q->mode) : LENT_LEAVE;
	if (move == LENT_WRITE)
		godlm_lent_write(c, q->value);
	godlm_lent_grant(t, c, q, a);
	a->read = 0;
	if (move == LENT_READ)
		godlm_lent_read(c, a);
	c->converts++;
	return godlm_lent_release(c, 1);
}

static inline int godlm_lent_unlock(struct godlm_lent *t, const struct godlm_lent_request *q, struct godlm_lent_answer *a)
{
	struct godlm_cell *c;

	if (q->flags & ~DLM_VALB)
		return 0;
	c = godlm_lent_find(t, q->lock);
	if (c == NULL)
		return 0;
	/* What a holder writes here goes with the resource: nobody else has a lock on it. */
	c->mode = 0;
	c->lock = 0;
	c->stamp = ++c->seq;
	c->writes = 0;
	memset(c->value, 0, sizeof c->value);
	c->unlocks++;
	a->status = DLM_SUCCESS;
	a->read = 0;
	return godlm_lent_release(c, 1);
}

#endif
