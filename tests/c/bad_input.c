/* Bad input gets its status and changes nothing; the order is that of D-43. */
#include "test.h"

static dlm_nsp_t nsp;
static uchar_t name[] = "bad input";
#define LEN ((ushort_t)(sizeof name - 1))

static dlm_status_t lock1(dlm_nsp_t n, uchar_t *nm, int len, dlm_lkid_t *par, dlm_lkid_t *id, int mode, dlm_valb_t *v,
                          dlm_flags_t f)
{
	return dlm_lock(n, nm, (ushort_t)len, par, id, (dlm_lkmode_t)mode, v, f, NULL, NULL, NULL, 0);
}

static dlm_status_t que1(dlm_nsp_t n, uchar_t *nm, int len, dlm_lkid_t *par, dlm_lkid_t *id, int mode, dlm_valb_t *v,
                         dlm_flags_t f)
{
	return dlm_quelock(n, nm, (ushort_t)len, par, id, (dlm_lkmode_t)mode, v, f, NULL, NULL, NULL, 0, NULL);
}

static void new_locks(dlm_status_t (*f)(dlm_nsp_t, uchar_t *, int, dlm_lkid_t *, dlm_lkid_t *, int, dlm_valb_t *,
                                        dlm_flags_t))
{
	static const dlm_flags_t illegal[] = {DLM_QUECVT,     DLM_DEQALL,  DLM_INVVALBLK,   DLM_CANCELWAITOK,
	                                      DLM_PERSIST,    DLM_GROUP_LOCK, DLM_TXID_LOCAL, DLM_TXID_GLOBAL,
	                                      DLM_USER,       DLM_GROUP,   DLM_JOIN_SAME_OK, 0x20000u, 1u << 24,
	                                      0x80000000u};
	dlm_lkid_t id = {1, 2}, foreign = {0x12345678, 0x40}, zero = {0, 0};
	dlm_valb_t v = value_of(5);

	for (unsigned i = 0; i < sizeof illegal / sizeof *illegal; i++)
		ASSERT_ST(f(nsp, name, LEN, NULL, &id, DLM_NLMODE, &v, illegal[i]), DLM_BADPARAM);
	ASSERT_ST(f(nsp, name, LEN, NULL, &id, DLM_NOMODE, &v, 0), DLM_BADPARAM);
	ASSERT_ST(f(nsp, name, LEN, NULL, &id, 7, &v, 0), DLM_BADPARAM);
	ASSERT_ST(f(nsp, name, LEN, NULL, &id, -1, &v, 0), DLM_BADPARAM);
	ASSERT_ST(f(nsp, name, LEN, NULL, &id, 0x101, &v, 0), DLM_BADPARAM);
	ASSERT_ST(f(nsp, name, LEN, NULL, &id, DLM_EXMODE, NULL, DLM_VALB), DLM_BADPARAM);
	ASSERT_ST(f(nsp, name, LEN, NULL, &id, DLM_CRMODE, &v, DLM_EXPEDITE), DLM_BADPARAM);
	/* BADPARAM before EFAULT before NOTATTACHED before IVBUFLEN before IVLOCKID */
	ASSERT_ST(f(0, NULL, 0, NULL, NULL, 7, NULL, 0), DLM_BADPARAM);
	ASSERT_ST(f(0, NULL, 0, NULL, &id, DLM_NLMODE, NULL, 0), DLM_EFAULT);
	ASSERT_ST(f(0, name, 0, NULL, NULL, DLM_NLMODE, NULL, 0), DLM_EFAULT);
	ASSERT_ST(f(0, name, 0, NULL, &id, DLM_NLMODE, NULL, 0), DLM_NOTATTACHED);
	ASSERT_ST(f(-1, name, LEN, NULL, &id, DLM_NLMODE, NULL, 0), DLM_NOTATTACHED);
	ASSERT_ST(f(nsp + 1, name, LEN, NULL, &id, DLM_NLMODE, NULL, 0), DLM_NOTATTACHED);
	ASSERT_ST(f(DLM_NSPROCMAX + 1, name, LEN, NULL, &id, DLM_NLMODE, NULL, 0), DLM_NOTATTACHED);
	ASSERT_ST(f(1 << 30, name, LEN, &foreign, &id, DLM_NLMODE, NULL, 0), DLM_NOTATTACHED);
	ASSERT_ST(f(nsp, name, 0, &foreign, &id, DLM_NLMODE, NULL, 0), DLM_IVBUFLEN);
	ASSERT_ST(f(nsp, name, DLM_RESNAMELEN + 1, NULL, &id, DLM_NLMODE, NULL, 0), DLM_IVBUFLEN);
	ASSERT_ST(f(nsp, name, 65535, NULL, &id, DLM_NLMODE, NULL, 0), DLM_IVBUFLEN);
	ASSERT_ST(f(nsp, name, LEN, &foreign, &id, DLM_NLMODE, NULL, 0), DLM_IVLOCKID);
	ASSERT_ST(f(nsp, name, LEN, &zero, &id, DLM_NLMODE, NULL, 0), DLM_IVLOCKID);
	ASSERT_EQ(id.seqn, 1); /* untouched */
	ASSERT_EQ(id.hndl, 2);
	ASSERT(same_value(&v, 5));
}

static void ids(void)
{
	dlm_lkid_t id, old, wrong;
	dlm_valb_t v = value_of(5);
	dlm_lkinfo_t info;
	dlm_rsbinfo_t rsb;
	dlm_lkid_t bad[5] = {{0, 0}, {0, 1}, {0x7fffffff, 0x7fffffff}, {0xffffffff, 0xffffffff}, {1, 0}};

	ASSERT_ST(lock1(nsp, name, LEN, NULL, &id, DLM_NLMODE, NULL, 0), DLM_SUCCESS);
	old = id;
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(lock1(nsp, name, LEN, NULL, &id, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	wrong = id;
	wrong.seqn++;
	for (int i = 0; i < 7; i++) {
		dlm_lkid_t b = i < 5 ? bad[i] : i == 5 ? old : wrong;
		if (memcmp(&b, &id, sizeof id) == 0)
			continue;
		ASSERT_ST(turn(&b, DLM_NLMODE, &v, DLM_VALB), DLM_IVLOCKID);
		ASSERT_ST(dlm_quecvt(&b, DLM_NLMODE, NULL, 0, NULL, NULL, NULL, 0, NULL), DLM_IVLOCKID);
		ASSERT_ST(dlm_unlock(&b, NULL, 0), DLM_IVLOCKID);
		ASSERT_ST(dlm_unlock(&b, NULL, DLM_DEQALL), DLM_IVLOCKID);
		ASSERT_ST(dlm_cancel(&b, 0), DLM_IVLOCKID);
		ASSERT_ST(dlm_get_lkinfo(&b, &info), DLM_IVLOCKID);
		ASSERT_ST(dlm_get_rsbinfo(nsp, name, LEN, &rsb, &b), DLM_IVLOCKID);
	}
	ASSERT(same_value(&v, 5));

	ASSERT_ST(turn(&id, (dlm_lkmode_t)0, NULL, 0), DLM_BADPARAM);
	ASSERT_ST(turn(&id, (dlm_lkmode_t)7, NULL, 0), DLM_BADPARAM);
	ASSERT_ST(turn(NULL, (dlm_lkmode_t)7, NULL, 0), DLM_BADPARAM);
	ASSERT_ST(turn(&id, DLM_NLMODE, NULL, DLM_VALB), DLM_BADPARAM);
	ASSERT_ST(turn(&id, DLM_NLMODE, &v, DLM_EXPEDITE), DLM_BADPARAM);
	ASSERT_ST(turn(&id, DLM_NLMODE, &v, DLM_DEQALL), DLM_BADPARAM);
	ASSERT_ST(turn(&id, DLM_NLMODE, &v, 0x40000000), DLM_BADPARAM);
	ASSERT_ST(turn(&id, DLM_NLMODE, NULL, DLM_QUECVT), DLM_BADPARAM); /* EX to NL is no such pair */
	ASSERT_ST(turn(NULL, DLM_NLMODE, NULL, 0), DLM_EFAULT);
	ASSERT_ST(dlm_unlock(&id, NULL, DLM_VALB), DLM_BADPARAM);
	ASSERT_ST(dlm_unlock(&id, &v, DLM_VALB | DLM_DEQALL), DLM_BADPARAM);
	ASSERT_ST(dlm_unlock(&id, NULL, DLM_NOQUEUE), DLM_BADPARAM);
	ASSERT_ST(dlm_unlock(NULL, NULL, 1u << 20), DLM_BADPARAM);
	ASSERT_ST(dlm_unlock(NULL, NULL, 0), DLM_EFAULT);
	ASSERT_ST(dlm_cancel(&id, DLM_VALB), DLM_BADPARAM);
	ASSERT_ST(dlm_cancel(NULL, DLM_VALB), DLM_BADPARAM);
	ASSERT_ST(dlm_cancel(NULL, 0), DLM_EFAULT);
	ASSERT_ST(dlm_get_lkinfo(&id, NULL), DLM_EFAULT);
	ASSERT_ST(dlm_get_lkinfo(NULL, &info), DLM_EFAULT);
	ASSERT_ST(dlm_get_rsbinfo(nsp, NULL, LEN, &rsb, NULL), DLM_EFAULT);
	ASSERT_ST(dlm_get_rsbinfo(nsp, name, LEN, NULL, NULL), DLM_EFAULT);
	ASSERT_ST(dlm_get_rsbinfo(nsp + 1, name, 0, &rsb, NULL), DLM_NOTATTACHED);
	ASSERT_ST(dlm_get_rsbinfo(nsp, name, 0, &rsb, NULL), DLM_IVBUFLEN);
	ASSERT_ST(dlm_get_rsbinfo(nsp, name, DLM_RESNAMELEN + 1, &rsb, NULL), DLM_IVBUFLEN);
	ASSERT_ST(dlm_get_rsbinfo(nsp, name, 3, &rsb, NULL), DLM_ENOENT);

	/* After all this the lock is what it was. */
	ASSERT_ST(dlm_get_lkinfo(&id, &info), DLM_SUCCESS);
	ASSERT_EQ(info.grmode, DLM_EXMODE);
	ASSERT_EQ(info.lkstate, GRANTED);
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_IVLOCKID);
}

/* Odd addresses are as good as others. */
static void unaligned(void)
{
	char room[512];
	dlm_lkid_t *id = (dlm_lkid_t *)(void *)(room + 1);
	dlm_valb_t *v = (dlm_valb_t *)(void *)(room + 19);
	dlm_lkinfo_t *info = (dlm_lkinfo_t *)(void *)(room + 65);
	dlm_rsbinfo_t *rsb = (dlm_rsbinfo_t *)(void *)(room + 301);
	dlm_valb_t seven = value_of(7), got;
	memset(room, 0x55, sizeof room);
	memcpy(room + 400, name, LEN);
	ASSERT_ST(lock1(nsp, (uchar_t *)room + 400, LEN, NULL, id, DLM_EXMODE, v, DLM_VALB | DLM_SYNCSTS), DLM_SYNCH);
	memcpy(v, &seven, sizeof seven);
	ASSERT_ST(turn(id, DLM_NLMODE, v, DLM_VALB), DLM_SUCCESS);
	memset(v, 0, sizeof *v);
	ASSERT_ST(turn(id, DLM_NLMODE, v, DLM_VALB), DLM_SUCCESS);
	memcpy(&got, v, sizeof got);
	ASSERT(same_value(&got, 7));
	ASSERT_ST(dlm_get_lkinfo(id, info), DLM_SUCCESS);
	ASSERT_ST(dlm_get_rsbinfo(nsp, name, LEN, rsb, NULL), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(id, NULL, 0), DLM_SUCCESS);
	ASSERT_EQ(room[0], 0x55);
	ASSERT_EQ(room[18], 0x55);
	ASSERT_EQ(room[64], 0x55);
	ASSERT_EQ(room[300], 0x55);
}

static void edges(void)
{
	uchar_t longest[DLM_RESNAMELEN] = {0};
	dlm_lkid_t a, b, c;
	/* Any bytes, and the length counts. */
	ASSERT_ST(lock1(nsp, longest, DLM_RESNAMELEN, NULL, &a, DLM_EXMODE, NULL, DLM_NOQUEUE), DLM_SUCCESS);
	ASSERT_ST(lock1(nsp, longest, DLM_RESNAMELEN - 1, NULL, &b, DLM_EXMODE, NULL, DLM_NOQUEUE), DLM_SUCCESS);
	ASSERT_ST(lock1(nsp, longest, DLM_RESNAMELEN, NULL, &c, DLM_NLMODE, NULL, DLM_NOQUEUE | DLM_EXPEDITE), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(&c, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(lock1(nsp, longest, DLM_RESNAMELEN, NULL, &c, DLM_CRMODE, NULL, DLM_NOQUEUE), DLM_NOTQUEUED);
	ASSERT(is_zero(&c)); /* D-60 */
	ASSERT_ST(dlm_unlock(NULL, NULL, DLM_DEQALL), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(NULL, NULL, DLM_DEQALL), DLM_SUCCESS);
}

static void trees(void)
{
	dlm_lkid_t at[130], sub, id = {9, 9}, ex;
	int depth;
	ASSERT_ST(lock1(nsp, name, LEN, NULL, &at[0], DLM_NLMODE, NULL, 0), DLM_SUCCESS);
	for (depth = 1; depth < 127; depth++)
		ASSERT_ST(lock1(0, name, LEN, &at[depth - 1], &at[depth], DLM_NLMODE, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(lock1(nsp, name, LEN, &at[126], &id, DLM_NLMODE, NULL, 0), DLM_BADPARAM);
	ASSERT_EQ(id.seqn, 9);
	ASSERT_ST(dlm_unlock(&at[60], NULL, 0), DLM_SUBLOCKS);
	ASSERT_ST(dlm_unlock(&at[60], NULL, DLM_DEQALL), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(&at[61], NULL, 0), DLM_IVLOCKID);
	ASSERT_ST(dlm_unlock(&at[60], NULL, 0), DLM_SUCCESS);
	/* A parent that waits is none. */
	ASSERT_ST(lock1(0, (uchar_t *)"p", 1, &at[0], &ex, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(que1(0, (uchar_t *)"p", 1, &at[0], &sub, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(lock1(0, name, LEN, &sub, &id, DLM_NLMODE, NULL, 0), DLM_PARNOTGRANT);
	ASSERT(is_zero(&id));
	ASSERT_ST(dlm_unlock(NULL, NULL, DLM_DEQALL), DLM_SUCCESS);
}

static void domains(void)
{
	char name[DLM_RDNAMELEN + 2];
	dlm_rd_id_t rd[65], extra = 77;
	dlm_rd_collection_hndl_t h = 0;

	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	ASSERT_ST(dlm_rd_attach(NULL, &extra, 8), DLM_BADPARAM);
	ASSERT_ST(dlm_rd_attach(NULL, &extra, DLM_RD_PROCESS), DLM_EFAULT);
	ASSERT_ST(dlm_rd_attach(name, NULL, DLM_RD_PROCESS), DLM_EFAULT);
	ASSERT_ST(dlm_rd_attach(name, &extra, DLM_RD_PROCESS), DLM_ENAMETOOLONG);
	name[DLM_RDNAMELEN] = '\0';
	for (int i = 0; i < 64; i++) {
		name[0] = (char)('0' + i);
		ASSERT_ST(dlm_rd_attach(name, &rd[i], DLM_RD_PROCESS), DLM_SUCCESS);
		ASSERT(rd[i] > 0);
	}
	name[0] = 'z';
	ASSERT_ST(dlm_rd_attach(name, &extra, DLM_RD_PROCESS), DLM_TOOMANYRD);
	ASSERT_EQ(extra, 77);
	ASSERT_ST(dlm_rd_detach(rd[5], 0), DLM_SUCCESS);
	ASSERT_ST(dlm_rd_attach(name, &rd[64], DLM_RD_PROCESS), DLM_SUCCESS);
	ASSERT(rd[64] != rd[5]);
	int stale[] = {rd[5], 1 << 30, 2147483647};
	for (int i = 0; i < 3; i++) {
		ASSERT_ST(dlm_rd_detach(stale[i], 0), DLM_IVRDID);
		ASSERT_ST(dlm_rd_collect(stale[i], &h, 0), DLM_IVRDID);
		h = 5;
		ASSERT_ST(dlm_rd_validate(stale[i], &h, 0), DLM_IVRDID);
	}
	ASSERT_ST(dlm_rd_collect(rd[0], NULL, 1), DLM_BADPARAM);
	ASSERT_ST(dlm_rd_collect(rd[0], NULL, 0), DLM_EFAULT);
	ASSERT_ST(dlm_rd_validate(rd[0], NULL, 0), DLM_EFAULT);
	ASSERT_ST(dlm_rd_validate(-1, &h, 0), DLM_BADPARAM);
	ASSERT_ST(dlm_rd_collect(rd[0], &h, 0), DLM_SUCCESS);
	ASSERT(h != 0);
	h++;
	ASSERT_ST(dlm_rd_validate(rd[0], &h, 0), DLM_IVHNDL);
	ASSERT_ST(dlm_rd_detach(rd[0], 0), DLM_EINPROGRESS);
	ASSERT_ST(dlm_detach(), DLM_SUCCESS); /* D-27: from all domains as well */
	ASSERT_ST(dlm_rd_attach(name, &extra, DLM_RD_PROCESS), DLM_NOTATTACHED);
	ASSERT_ST(dlm_rd_detach(rd[0], 0), DLM_NOTATTACHED);
	nsp = join();
	ASSERT_ST(dlm_rd_detach(rd[0], 0), DLM_IVRDID);
	ASSERT_ST(dlm_rd_attach(name, &rd[0], DLM_RD_PROCESS), DLM_SUCCESS);
	ASSERT_ST(dlm_rd_detach(rd[0], DLM_RD_INVALIDATE), DLM_SUCCESS);
}

int main(void)
{
	nsp = join();
	new_locks(lock1);
	new_locks(que1);
	ids();
	unaligned();
	edges();
	trees();
	domains();
	ASSERT_ST(dlm_set_signal(-1, NULL), DLM_BADPARAM);
	ASSERT_ST(dlm_set_signal(SIGMAX + 1, NULL), DLM_BADPARAM);
	ASSERT_ST(dlm_set_signal(SIGKILL, NULL), DLM_BADPARAM);
	ASSERT_ST(dlm_set_signal(SIGSTOP, NULL), DLM_BADPARAM);
	dlm_notify();
	ASSERT_ST(dlm_detach(), DLM_SUCCESS);
	return 0;
}
