/*
 * The long game: tellers move money between accounts that are kept in value
 * blocks, two locks per transfer, while they are killed, stopped and replaced,
 * several at once and in mid-transfer. No unit is lost or made.
 *
 * A transfer writes the debit together with a note of the credit, then the
 * credit, then clears the note. Whoever dies between leaves both blocks not
 * valid; whoever meets such a block takes all accounts, finishes what was begun
 * and writes what was in doubt.
 *
 * Shared memory, which knows nothing of the library, says whether that is right:
 * who is inside an account, by compare-and-swap; what was last written to it;
 * and how often its block may have been called not valid.
 */
#include "test.h"

#include <stdint.h>
#include <sys/mman.h>

#define ACCOUNTS 10
#define TELLERS 5
#define MOST 600 /* tellers in the whole game */
#define KILLS 150
#define FUNDS 1000u

/* Words of an account's block. */
enum { BALANCE, VERSION, CREDIT_TO /* plus 1 */, CREDIT, CREDIT_VERSION };

struct account {
	int inside;                      /* teller, 0: nobody */
	uint_t written, intended;        /* versions: acknowledged, and given to the library */
	uint_t written_sum, intended_sum; /* of the words of those blocks */
	int letting_go;                  /* the intended write goes with the conversion down */
	int doubts;                      /* times it was found not valid and was mended */
};

static struct {
	int closing;
	int permit;                          /* one teller may leave */
	long transfers, mended;
	int doomed[MOST], dead[MOST];        /* by teller */
	int asking[MOST][ACCOUNTS];          /* has or wants EX */
	struct account accounts[ACCOUNTS];
} *shared;

#define GET(x) __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define SET(x, v) __atomic_store_n(&(x), (v), __ATOMIC_SEQ_CST)
#define ADD(x, v) __atomic_add_fetch(&(x), (v), __ATOMIC_SEQ_CST)

/* ---- a teller ---------------------------------------------------------------- */

static int me;
static uint64_t luck;
static dlm_lkid_t locks[ACCOUNTS];
static dlm_valb_t blocks[ACCOUNTS];
static int doubtful[ACCOUNTS];

static uint_t dice(uint_t n)
{
	luck ^= luck << 13;
	luck ^= luck >> 7;
	luck ^= luck << 17;
	return (uint_t)(luck >> 20) % n;
}

static uint_t sum_of(const dlm_valb_t *v)
{
	uint_t sum = 0;
	for (int i = 0; i < DLM_VALBLKSIZE; i++)
		sum = sum * 31 + v->valblk[i];
	return sum;
}

/* The account is this teller's: nobody alive is inside, and the block is what it must be. */
static void step_in(int i, dlm_status_t st)
{
	struct account *a = &shared->accounts[i];
	int was = 0;
	while (!__atomic_compare_exchange_n(&a->inside, &was, me, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		if (!GET(shared->doomed[was]))
			FAIL("account %d has two writers: %d and %d", i, was, me);
		EVENTUALLY(GET(shared->dead[was]));
	}
	const uint_t *w = blocks[i].valblk;
	uint_t sum = sum_of(&blocks[i]);
	int as_written = w[VERSION] == a->written && sum == a->written_sum;
	int as_intended = w[VERSION] == a->intended && sum == a->intended_sum;
	doubtful[i] = st == DLM_SUCCVALNOTVALID;
	if (doubtful[i]) {
		int may = 0;
		for (int d = 1; d < MOST; d++)
			may += GET(shared->doomed[d]) && GET(shared->asking[d][i]);
		if (a->doubts >= may)
			FAIL("account %d is called not valid for the %d. time, but only %d of its writers died", i, a->doubts + 1,
			     may);
		if (!as_written && !as_intended)
			FAIL("account %d in doubt shows version %u, neither %u nor %u", i, w[VERSION], a->written, a->intended);
	} else {
		ASSERT_ST(st, DLM_SUCCESS);
		if (!as_written && !(as_intended && a->letting_go))
			FAIL("account %d is called valid with version %u, last written %u, intended %u", i, w[VERSION], a->written,
			     a->intended);
	}
	a->written = a->intended = w[VERSION];
	a->written_sum = a->intended_sum = sum;
	a->letting_go = 0;
	if (w[VERSION] == 0)
		blocks[i].valblk[BALANCE] = FUNDS; /* never written: a new account */
}

static void enter(int i)
{
	SET(shared->asking[me][i], 1);
	step_in(i, turn(&locks[i], DLM_EXMODE, &blocks[i], DLM_VALB));
}

static void announce_write(int i)
{
	struct account *a = &shared->accounts[i];
	blocks[i].valblk[VERSION]++;
	SET(a->intended_sum, sum_of(&blocks[i]));
	SET(a->intended, blocks[i].valblk[VERSION]);
}

static void write_done(int i)
{
	struct account *a = &shared->accounts[i];
	SET(a->written_sum, a->intended_sum);
	SET(a->written, a->intended);
	if (doubtful[i])
		ADD(a->doubts, 1);
	doubtful[i] = 0;
}

/* Writes and keeps the lock. */
static void write_block(int i)
{
	announce_write(i);
	dlm_status_t st = turn(&locks[i], DLM_EXMODE, &blocks[i], DLM_VALB);
	ASSERT_ST(st, DLM_SUCCESS);
	write_done(i);
}

static void let_go(int i, int with_write)
{
	struct account *a = &shared->accounts[i];
	/* Outside before the lock is: the next one may come at once. */
	if (with_write) {
		announce_write(i);
		SET(a->letting_go, 1);
	}
	SET(a->inside, 0);
	ASSERT_ST(turn(&locks[i], DLM_NLMODE, &blocks[i], with_write ? DLM_VALB : 0), DLM_SUCCESS);
	SET(shared->asking[me][i], 0);
}

/* With all accounts in hand: finish what was begun, count, write what was in doubt. */
static void mend(void)
{
	uint_t total = 0;
	for (int i = 0; i < ACCOUNTS; i++)
		enter(i);
	for (int i = 0; i < ACCOUNTS; i++) {
		uint_t *from = blocks[i].valblk;
		if (from[CREDIT_TO] == 0)
			continue;
		int j = (int)from[CREDIT_TO] - 1;
		uint_t *to = blocks[j].valblk;
		if (to[VERSION] < from[CREDIT_VERSION]) {
			to[BALANCE] += from[CREDIT];
			to[VERSION] = from[CREDIT_VERSION] - 1; /* the write adds one */
			write_block(j);
		}
		from[CREDIT_TO] = 0;
		write_block(i);
	}
	for (int i = 0; i < ACCOUNTS; i++) {
		total += blocks[i].valblk[BALANCE];
		if (doubtful[i])
			write_block(i);
	}
	if (total != ACCOUNTS * FUNDS)
		FAIL("%u units, not %u", total, ACCOUNTS * FUNDS);
	for (int i = 0; i < ACCOUNTS; i++)
		let_go(i, 0);
	ADD(shared->mended, 1);
}

/* Sometimes the work ends in the middle, by an exit() that says nothing. */
static void may_leave(void)
{
	int may = 1;
	if (dice(20) == 0 && __atomic_compare_exchange_n(&shared->permit, &may, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		SET(shared->doomed[me], 1);
		exit(0);
	}
}

static void transfer(void)
{
	int from = (int)dice(ACCOUNTS), to = (int)dice(ACCOUNTS);
	if (from == to)
		return;
	enter(from < to ? from : to);
	enter(from < to ? to : from);
	if (doubtful[from] || doubtful[to]) {
		let_go(from, 0);
		let_go(to, 0);
		mend();
		return;
	}
	uint_t *f = blocks[from].valblk, *t = blocks[to].valblk;
	ASSERT_EQ(f[CREDIT_TO], 0);
	ASSERT_EQ(t[CREDIT_TO], 0);
	uint_t amount = dice(f[BALANCE] + 1);
	f[BALANCE] -= amount;
	f[CREDIT_TO] = (uint_t)to + 1;
	f[CREDIT] = amount;
	f[CREDIT_VERSION] = t[VERSION] + 1;
	write_block(from);
	may_leave();
	t[BALANCE] += amount;
	write_block(to);
	f[CREDIT_TO] = 0;
	int late = (int)dice(2);
	if (!late)
		write_block(from);
	may_leave();
	/* If the note is cleared with the conversion down, that comes first. */
	let_go(from, late);
	let_go(to, 0);
	ADD(shared->transfers, 1);
}

static void teller(struct role *r, void *arg)
{
	static char name[] = "account 0";
	dlm_nsp_t nsp = join();
	me = (int)(long)arg;
	luck = 88172645463325252ull + (uint64_t)me * 0x9e3779b97f4a7c15ull;
	for (int i = 0; i < ACCOUNTS; i++) {
		name[sizeof name - 2] = (char)('0' + i);
		dlm_status_t st = take(nsp, name, &locks[i], DLM_NLMODE, NULL, DLM_EXPEDITE);
		ASSERT_ST(st, DLM_SUCCESS);
	}
	tell(r, 'r');
	while (!GET(shared->closing))
		transfer();
	tell(r, 'd');
	hear(r, 'a');
	mend();
	SET(shared->doomed[me], 1);
}

/* ---- who kills them ------------------------------------------------------------ */

static struct role roles[TELLERS];
static int names[TELLERS], last_name, died, left;

static void hire(int k)
{
	names[k] = ++last_name;
	ASSERT(last_name < MOST);
	roles[k] = fork_role(teller, (void *)(long)last_name);
}

static void buried(int k)
{
	SET(shared->dead[names[k]], 1);
	close(roles[k].in);
	close(roles[k].out);
	hire(k);
}

/* Those who left by themselves are replaced. */
static void replace_leavers(void)
{
	for (int k = 0; k < TELLERS; k++) {
		int status;
		if (waitpid(roles[k].pid, &status, WNOHANG) != roles[k].pid)
			continue;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			FAIL("teller %d ended with status %#x", names[k], status);
		left++;
		buried(k);
		hear(&roles[k], 'r');
	}
}

static void until_transfers(long n)
{
	long long end = now_ms() + DEADLINE_MS;
	while (GET(shared->transfers) < n) {
		if (now_ms() > end)
			FAIL("no transfers any more, after %d deaths and %d exits", died, left);
		replace_leavers();
		poll(NULL, 0, 1);
	}
}

int main(void)
{
	luck = 1;
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT(shared != MAP_FAILED);

	for (int k = 0; k < TELLERS; k++)
		hire(k);
	for (int k = 0; k < TELLERS; k++)
		hear(&roles[k], 'r');

	while (died < KILLS) {
		int leaves = dice(5) == 0, before = left;
		SET(shared->permit, leaves);
		until_transfers(GET(shared->transfers) + 1 + dice(60));
		/* One survives each time, and with it the blocks. */
		if (leaves && __atomic_exchange_n(&shared->permit, 0, __ATOMIC_SEQ_CST) == 0)
			EVENTUALLY((replace_leavers(), left > before));
		int n = dice(3) ? 1 : 1 + (int)dice(TELLERS - 1);
		int first = (int)dice(TELLERS), standing = (first + n) % TELLERS;
		int stop = dice(4) == 0 && n < TELLERS;
		if (stop)
			kill(roles[standing].pid, SIGSTOP);
		for (int i = 0; i < n; i++) {
			int k = (first + i) % TELLERS;
			SET(shared->doomed[names[k]], 1);
			kill(roles[k].pid, SIGKILL);
		}
		for (int i = 0; i < n; i++) {
			int k = (first + i) % TELLERS;
			await_end(&roles[k]);
			buried(k);
			died++;
		}
		if (stop)
			kill(roles[standing].pid, SIGCONT);
		for (int i = 0; i < n; i++)
			hear(&roles[(first + i) % TELLERS], 'r');
	}
	until_transfers(GET(shared->transfers) + 50);
	SET(shared->closing, 1);
	for (int k = 0; k < TELLERS; k++) { /* each counts once more, the last one alone */
		hear(&roles[k], 'd');
		tell(&roles[k], 'a');
		finish_role(&roles[k]);
	}
	int doubts = 0;
	for (int i = 0; i < ACCOUNTS; i++)
		doubts += shared->accounts[i].doubts;
	printf("%ld transfers, %d tellers killed, %d left, %d blocks in doubt mended in %ld recoveries\n",
	       shared->transfers, died, left, doubts, shared->mended);
	ASSERT(doubts > 0);
	return 0;
}
