/*
 * The life of one idempotency key: several servers claim it, execute, and store the answer; each may crash at every
 * step, or stall for as long as it likes and go on. Time is not modelled: a lease may end at any moment, so every
 * stall longer than the lease is among the runs.
 *
 * The switches (-D) choose what a method promises and what its target can do; `check` says which combinations must
 * hold and which must fail:
 *
 *   RECOVERABLE   a new attempt executes again (pkg/idempotent: Claim.Takeover)
 *   PROBE         a new attempt asks the target first (Claim.Probe)
 *   MANUAL        no new attempt: the outcome is uncertain until somebody resolves it
 *   UNIQUE        the target does an effect with the same child key once
 *   TX            effect and answer commit in one transaction
 *   BOUNDED       an attempt's calls cannot reach the target after its lease ended
 *   RESOLVER      somebody resolves uncertain outcomes by asking the target
 *
 * and the mistakes: NO_FENCE, CHECK_THEN_SET, LEASE_IGNORED, NO_TAKEOVER, ANSWER_FIRST, SUCCESS_UNSEEN, RELEASE_FORGETS,
 * PURGE_FORGETS, BLIND_RESOLVER.
 */
#ifndef WORKERS
#define WORKERS 3
#endif
#ifndef TRIES
#define TRIES 2
#endif
#if defined(RECOVERABLE) || defined(PROBE)
#define REDO
#endif

mtype:state = { absent, claimed, done, released, uncertain, tombstone };

/* The record. */
mtype:state state = absent;
byte fence = 0;         /* number of the attempt that holds or held the claim */
#ifdef BOUNDED
bool ended[WORKERS * TRIES + 2];        /* by fence: the lease of that attempt has ended */
#define over ended[fence]
#else
bool over = false;      /* its lease has ended */
#endif
bool tainted = false;   /* an attempt before this one may have had its effect */
byte answer = 0;        /* what is stored; every attempt would answer something else: its fence */

/* The properties; the names are what a violation prints. */
#define NAMED(name) bool name = true;
NAMED(two_effects) NAMED(an_answer_is_lost) NAMED(an_answer_changed) NAMED(an_answer_without_effect) NAMED(the_key_is_stuck)

/* The world. */
byte effects = 0;       /* at the target */
byte seen = 0;          /* the answer that a client saw first */
byte acting = 0;        /* attempts that may still reach the target */
byte gone = 0;          /* servers that have ended */

/* A client gets an answer. */
inline saw(v) {
	assert(!(an_answer_without_effect && effects == 0));
	assert(!(an_answer_changed && seen != 0 && seen != v));
	seen = v
}

/* An attempt holds the claim if nobody began another one. */
#ifdef NO_FENCE
#define HELD(f) (state == claimed || state == done)
#else
#define HELD(f) (state == claimed && fence == f)
#endif

#ifdef LEASE_IGNORED
#define TAKEABLE (state == claimed)
#elif defined(NO_TAKEOVER)
#define TAKEABLE false
#else
#define TAKEABLE (state == claimed && over)
#endif

/* Begin, as decide() in pkg/idempotent: f is 0 or the fence of the new attempt, rec whether it must look first. */
inline take(recovering) {
	fence++; f = fence; rec = recovering; tainted = recovering; state = claimed; over = false; answer = 0; acting++
}
inline begin() {
	d_step {
		f = 0; rec = false;
		if
		:: state == absent -> take(false)
		:: state == released -> take(tainted)
		:: state == done -> saw(answer)
		:: state == tombstone -> skip           /* Gone: executed, the answer is no longer kept */
#ifdef REDO
		:: TAKEABLE -> take(true)
		:: state == uncertain -> take(true)
#else
		:: TAKEABLE -> state = uncertain; over = true
#endif
		:: else -> skip                         /* in progress, or in doubt */
		fi
	}
}

/* Check-then-set: what begin() decides on is old when it writes. */
inline begin_check_then_set() {
	f = 0; rec = false;
	if
	:: d_step { state == absent -> copy = 1 }
	:: else -> copy = 0
	fi;
	if
	:: copy == 1 -> d_step { fence = 0; take(false) }
	:: else -> begin()
	fi
}

/* The effect at the target. */
inline act() {
	if
#ifdef BOUNDED
	:: ended[f] -> skip
#endif
	:: else ->
#ifdef UNIQUE
		effects = (effects == 0 -> 1 : effects)
#else
		effects++
#endif
	fi
}

inline look_and_answer() {              /* the claim was lost: what is stored is the answer, never the own result */
	d_step { if :: state == done -> saw(answer) :: else -> skip fi }
}

proctype server() {
	byte tries = 0, f = 0;
	bool rec = false, found = false, acted = false;
#ifdef CHECK_THEN_SET
	byte copy = 0;
#endif
	do
	:: tries == TRIES -> break
	:: else ->
		tries++;
#ifdef CHECK_THEN_SET
		begin_check_then_set();
#else
		begin();
#endif
		if
		:: f == 0 -> skip
		:: else ->
			acted = false;
			if
			:: acting--; goto crashed                       /* after the claim */
			:: d_step {                                     /* refused before anything was sent */
				acting--;
				if
				:: HELD(f) ->
					state = released;
#ifdef RELEASE_FORGETS
					tainted = false
#endif
				:: else -> skip
				fi };
				goto crashed
			:: skip
			fi;
#ifdef PROBE
			if
			:: rec -> found = (effects > 0)
			:: else -> found = false
			fi;
#endif
#ifdef TX
			d_step {
				acting--;
				if
				:: HELD(f) -> effects++; state = done; answer = f
				:: else -> skip                         /* rolled back */
				fi };
#else
			d_step {
				if :: found -> skip :: else -> act() fi;
				acting-- };
#endif
			if
			:: goto crashed                                 /* after the effect */
			:: d_step {                                     /* the answer of the target is lost */
				if
#ifdef REDO
				:: HELD(f) && state == claimed -> over = true
#else
				:: HELD(f) && state == claimed -> state = uncertain; over = true
#endif
				:: else -> skip
				fi };
				goto crashed
			:: d_step {                                     /* a heartbeat, however late */
				if :: HELD(f) && state == claimed -> over = false :: else -> skip fi }
			:: skip
			fi;
#ifdef ANSWER_FIRST
			d_step { if :: effects > 0 -> saw(f) :: else -> skip fi };
			if :: goto crashed :: skip fi;
#endif
#ifndef TX
			/* With BOUNDED the call may not have gone out; then there is nothing to complete. */
			d_step {
				if
#ifdef SUCCESS_UNSEEN
				:: HELD(f) -> state = done; answer = f
#else
				:: HELD(f) && effects > 0 -> state = done; answer = f
#endif
				:: else -> skip
				fi };
#endif
			if :: goto crashed :: skip fi;                  /* after the answer is stored */
			look_and_answer()
		fi;
crashed:
		skip;
		d_step { f = 0; rec = false; found = false }            /* everything that the process knew */
	od;
	gone++
}

/* Leases end and answers lose their payload whenever they like. */
proctype clock() {
end:	do
	:: d_step { state == claimed && !over && gone < WORKERS -> over = true }
#ifdef PURGE_FORGETS
	:: d_step { state == done && seen > 0 -> state = absent; answer = 0 }
#else
	:: d_step { state == done && seen > 0 -> state = tombstone; answer = 0 }
#endif
	od
}

#ifdef RESOLVER
/* Resolve: asks the target and takes the next fence. That nothing is found counts only when no attempt can act any more. */
proctype resolver() {
	byte was;
	bool there;
end:	do
	:: d_step { state == uncertain -> was = fence };
		there = (effects > 0);
		if
		:: d_step { there && state == uncertain && fence == was -> fence++; state = done; answer = fence }
#ifdef BLIND_RESOLVER
		:: d_step { !there && state == uncertain && fence == was -> fence++; state = released; tainted = false }
#else
		:: d_step { !there && state == uncertain && fence == was && acting == 0 && effects == 0 ->
				fence++; state = released; tainted = false }
#endif
		:: else -> skip
		fi
	od
}
#endif

/* When all servers have ended, one more call that does not crash must get the answer: no key is stuck. */
proctype last() {
	byte f = 0;
	bool rec = false;
	gone == WORKERS;
#if defined(MANUAL) && !defined(RESOLVER)
	over = true;
	begin();
	if
	:: f > 0 -> d_step { act(); acting--; state = done; answer = f; saw(f) }
	:: else -> assert(!(the_key_is_stuck && state != done && state != tombstone && state != uncertain))
	fi
#else
#ifdef MANUAL
	if :: state == claimed -> over = true; begin() :: else -> skip fi;
	state != uncertain;                             /* somebody resolves it */
#else
	over = true;                                    /* wait for the lease */
#endif
	begin();
	if
	:: f > 0 ->
		d_step {
			if
#ifdef PROBE
			:: rec && effects > 0 -> skip
#endif
			:: else -> act()
			fi;
			acting--; state = done; answer = f; saw(f) }
	:: else -> assert(!(the_key_is_stuck && state != done && state != tombstone))
	fi
#endif
}

/* What holds in every state. */
active proctype always() {
end:	if
	:: atomic { effects > 1 -> assert(!two_effects) }
	:: atomic { (seen > 0 && state != done && state != tombstone) -> assert(!an_answer_is_lost) }
	:: atomic { (seen > 0 && state == done && answer != seen) -> assert(!an_answer_changed) }
	fi
}

init {
	byte i;
	atomic {
		for (i : 1 .. WORKERS) { run server() }
		run clock();
#ifdef RESOLVER
		run resolver();
#endif
		run last()
	}
}
