package inbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent/inbox"
	"github.com/selfsame-io/selfsame/pkg/retry"
)

var fast = retry.Backoff{Min: time.Microsecond, Max: time.Millisecond}

// process has one effect per message, named by its body.
func (w *world) process(ctx context.Context, m inbox.Message) (inbox.Verdict, error) {
	return w.in.Handle(ctx, m, effect(string(m.Body)))
}

// naive is the mistake: it does what it is told, as often as it is told.
func (w *world) naive(ctx context.Context, m inbox.Message) (inbox.Verdict, error) {
	return inbox.Processed, w.db.Tx(ctx, effect(string(m.Body)))
}

// crashingGroup consumes everything with members that die before their commits, in rounds.
func crashingGroup(w *world, process inbox.Process, idHeader string) {
	b := newKafka()
	for i := range 60 {
		body := fmt.Sprint("order-", i)
		h := inbox.KafkaHeader{Key: "id", Value: []byte(fmt.Sprint("event-", i))}
		b.produce(int32(i%3), "k", body, h)
		if i%5 == 0 && idHeader != "" {
			b.produce(int32(i%3), "k", body, h) // the publisher died after sending and sent again
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for round := 0; ; round++ {
		ctx, cancel := context.WithCancel(w.t.Context())
		done := false
		m := b.join(7, func() { done = true; cancel() })
		crashes := rng.IntN(3) > 0
		m.onCommit = func() error {
			if crashes {
				return errCrash
			}
			return nil
		}
		k := inbox.Kafka{Client: m, Inbox: w.in, Process: process, IDHeader: idHeader, Backoff: fast}
		err := k.Run(ctx)
		cancel()
		if err != nil {
			require.ErrorIs(w.t, err, errCrash)
		}
		if done {
			require.NoError(w.t, err)
			return
		}
		require.Less(w.t, round, 200)
	}
}

func TestKafka_MembersThatDieBeforeTheirCommitRepeatNothing(t *testing.T) {
	for _, idHeader := range []string{"", "id"} {
		t.Run("id header "+strconv.Quote(idHeader), func(t *testing.T) {
			each(t, func(w *world) {
				crashingGroup(w, w.process, idHeader)
				require.Len(w.t, w.effects(), 60, "nothing is lost")
				for what, n := range w.effects() {
					require.Equal(w.t, 1, n, what)
				}
				if idHeader == "" {
					require.Zero(w.t, w.stats().Remembered, "nothing is kept below the checkpoint")
				}
			})
		})
	}
}

func TestKafka_TheCrashesAreSeenWithoutAnInbox(t *testing.T) {
	t.Parallel()
	w := setup(t, dbtest.Open(t, "sqlite"))
	crashingGroup(w, w.naive, "id")
	twice := 0
	for _, n := range w.effects() {
		if n > 1 {
			twice++
		}
	}
	require.NotZero(t, twice, "the test above must be able to fail")
}

func TestKafka_AMemberThatLostItsPartitionsDoesNoHarm(t *testing.T) {
	each(t, func(w *world) {
		b := newKafka()
		for i := range 30 {
			b.produce(0, "k", fmt.Sprint("order-", i))
		}
		ctx, cancel := context.WithCancel(w.t.Context())
		defer cancel()
		// The first member stalls inside its first record; the group gives everything to the second.
		stalled, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		lost := make(chan error, 1)
		go func() {
			k := inbox.Kafka{Client: b.join(30, nil), Inbox: w.in, Backoff: fast}
			k.Process = func(ctx context.Context, m inbox.Message) (inbox.Verdict, error) {
				once.Do(func() { close(stalled); <-goOn })
				return w.process(ctx, m)
			}
			lost <- k.Run(ctx)
		}()
		<-stalled
		second, stop := context.WithCancel(ctx)
		require.NoError(w.t, inbox.Kafka{Client: b.join(4, stop), Inbox: w.in, Process: w.process, Backoff: fast}.Run(second))
		close(goOn)
		require.ErrorContains(w.t, <-lost, "ILLEGAL_GENERATION")
		require.Len(w.t, w.effects(), 30)
		for what, n := range w.effects() {
			require.Equal(w.t, 1, n, what)
		}
	})
}

func TestKafka_APoisonRecordDoesNotStopItsPartition(t *testing.T) {
	each(t, func(w *world) {
		b := newKafka()
		for i := range 5 {
			b.produce(0, "k", fmt.Sprint("order-", i), inbox.KafkaHeader{Key: "v", Value: []byte(map[bool]string{true: "nine", false: "1"}[i == 2])})
		}
		ctx, cancel := context.WithCancel(w.t.Context())
		k := inbox.Kafka{Client: b.join(10, cancel), Inbox: w.in, VersionHeader: "v", Backoff: fast}
		outage := 3
		k.Process = func(ctx context.Context, m inbox.Message) (inbox.Verdict, error) {
			if outage--; outage >= 0 {
				return 0, fault.New(fault.Unavailable, "", "down") // waited for, not counted
			}
			return w.process(ctx, m)
		}
		require.NoError(w.t, k.Run(ctx))
		require.Len(w.t, w.effects(), 4)
		require.Equal(w.t, int64(1), w.stats().Parked)
	})
}

func runSQS(w *world, q *sqsQueue, process inbox.Process, edit func(*inbox.SQS)) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	c := inbox.SQS{Queue: q, Inbox: w.in, Process: process, Name: "orders", Visibility: 200 * time.Millisecond, Parallel: 4, Backoff: fast}
	if edit != nil {
		edit(&c)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	require.Eventually(w.t, func() bool { return q.left() == 0 }, 2*time.Minute, 5*time.Millisecond)
	cancel()
	require.NoError(w.t, <-done)
}

func TestSQS_DuplicatesOfQueueAndProducerHaveOneEffect(t *testing.T) {
	each(t, func(w *world) {
		q := &sqsQueue{visibility: 200 * time.Millisecond, ghosts: 5}
		for i := range 20 {
			for range 1 + i%2 { // the producer did not hear the answer and sent again: another MessageId
				q.send(fmt.Sprint("order-", i), nil, map[string]string{"event": fmt.Sprint("event-", i)})
			}
		}
		runSQS(w, q, w.process, func(c *inbox.SQS) { c.IDAttribute = "event" })
		require.Len(w.t, w.effects(), 20)
		for what, n := range w.effects() {
			require.Equal(w.t, 1, n, what)
		}
	})
}

func TestSQS_ADeduplicationIDHoldsLongerThanFiveMinutes(t *testing.T) {
	each(t, func(w *world) {
		q := &sqsQueue{visibility: time.Second}
		for range 2 {
			q.send("order", map[string]string{"MessageDeduplicationId": "d-1", "MessageGroupId": "g"}, nil)
			runSQS(w, q, w.process, nil)
			w.clock.Advance(6 * time.Minute)
		}
		q.send("order of another group", map[string]string{"MessageDeduplicationId": "d-1", "MessageGroupId": "h"}, nil)
		runSQS(w, q, w.process, nil)
		require.Equal(w.t, map[string]int{"order": 1, "order of another group": 1}, w.effects())
	})
}

func TestSQS_ALongHandlerKeepsItsMessage(t *testing.T) {
	each(t, func(w *world) {
		// Longer than a machine stands still; the queue is asked every second, so whoever does not keep the message sees it again.
		const visibility = 1500 * time.Millisecond
		q := &sqsQueue{visibility: visibility}
		q.send("slow", nil, nil)
		var runs atomic.Int64
		runSQS(w, q, func(ctx context.Context, m inbox.Message) (inbox.Verdict, error) {
			runs.Add(1)
			t := time.NewTimer(2 * visibility)
			defer t.Stop()
			select {
			case <-ctx.Done():
				return 0, ctx.Err()
			case <-t.C:
			}
			return w.process(ctx, m)
		}, func(c *inbox.SQS) { c.Visibility = visibility })
		require.Equal(w.t, int64(1), runs.Load(), "not delivered to anybody else meanwhile")
	})
}

func TestSQS_OutOfOrderAndPoison(t *testing.T) {
	each(t, func(w *world) {
		q := &sqsQueue{visibility: time.Second}
		for v := range 10 {
			q.send(fmt.Sprint("price-", v), nil, map[string]string{"sku": "s", "version": strconv.Itoa(v)})
		}
		q.send("unreadable", nil, map[string]string{"sku": "s", "version": "new"})
		var mu sync.Mutex
		last := ""
		runSQS(w, q, func(ctx context.Context, m inbox.Message) (inbox.Verdict, error) {
			return w.in.Handle(ctx, m, func(context.Context, *sql.Tx) error {
				mu.Lock()
				defer mu.Unlock()
				last = string(m.Body)
				return nil
			})
		}, func(c *inbox.SQS) { c.ObjectAttribute, c.VersionAttribute, c.Parallel = "sku", "version", 1 })
		require.Equal(w.t, "price-9", last, "the queue delivers the newest first")
		require.Equal(w.t, int64(1), w.stats().Parked)
	})
}

func TestSQS_EndsWhenTheQueueCannotBeRead(t *testing.T) {
	each(t, func(w *world) {
		err := inbox.SQS{Queue: brokenQueue{}, Inbox: w.in, Process: w.process}.Run(w.t.Context())
		require.ErrorIs(w.t, err, errCrash)
	})
}

type brokenQueue struct{ inbox.SQSQueue }

func (brokenQueue) Receive(context.Context, int) ([]inbox.SQSMessage, error) { return nil, errCrash }

func change(id string, commit, sequence int64, records ...string) inbox.SalesforceEvent {
	return inbox.SalesforceEvent{
		EventID: id, Payload: []byte(id),
		Change: &inbox.SalesforceChange{Entity: "Account", RecordIDs: records, CommitNumber: commit, SequenceNumber: sequence},
	}
}

func TestSalesforce_ResumesAfterACrashWithoutRepeating(t *testing.T) {
	each(t, func(w *world) {
		topic := &sfTopic{batch: 6}
		for i := range 40 {
			topic.publish(change(fmt.Sprint("e-", i), int64(i/2), int64(i%2), fmt.Sprint("001", i%4)))
		}
		topic.publish(inbox.SalesforceEvent{Payload: []byte("platform event without an id")})
		die := 9
		for range 50 {
			ctx, cancel := context.WithCancel(w.t.Context())
			finished := false
			var mu sync.Mutex
			s := inbox.Salesforce{Org: "00D", Topic: "/data/ChangeEvents", Inbox: w.in, Backoff: fast, Subscribe: topic.subscribe(func() { finished = true; cancel() })}
			s.Process = func(ctx context.Context, m inbox.Message) (inbox.Verdict, error) {
				v, err := w.process(ctx, m)
				mu.Lock()
				defer mu.Unlock()
				if die--; die == 0 { // after the effect, before the replay id is stored
					die = 11
					cancel()
					return 0, errCrash
				}
				return v, err
			}
			require.NoError(w.t, s.Run(ctx))
			cancel()
			if finished {
				break
			}
		}
		require.Len(w.t, w.effects(), 41, "nothing is lost")
		for what, n := range w.effects() {
			require.Equal(w.t, 1, n, what)
		}
	})
}

func replayFromTheBeginning(t *testing.T) {
	each(t, func(w *world) {
		topic := &sfTopic{batch: 3}
		topic.publish(change("e-1", 1, 1, "001A", "001B")) // merged: two records
		topic.publish(change("e-2", 2, 1, "001A"))
		run := func(process inbox.Process, org string) {
			ctx, cancel := context.WithCancel(w.t.Context())
			defer cancel()
			s := inbox.Salesforce{Org: org, Topic: "t", Inbox: w.in, Process: process, Subscribe: func(ctx context.Context, _ []byte) (inbox.SalesforceSubscription, error) {
				return topic.subscribe(cancel)(ctx, nil) // as after a full resync: from the earliest
			}}
			require.NoError(w.t, s.Run(ctx))
		}
		verdicts := map[inbox.Verdict]int{}
		var mu sync.Mutex
		count := func(ctx context.Context, m inbox.Message) (inbox.Verdict, error) {
			v, err := w.process(ctx, m)
			mu.Lock()
			verdicts[v]++
			mu.Unlock()
			return v, err
		}
		run(count, "org-1")
		require.Equal(w.t, map[inbox.Verdict]int{inbox.Processed: 3}, verdicts)
		run(count, "org-1")
		require.Equal(w.t, map[inbox.Verdict]int{inbox.Processed: 3, inbox.Duplicate: 3}, verdicts)
		run(count, "org-2")
		require.Equal(w.t, 6, verdicts[inbox.Processed], "the same ids of another organization are other events")
	})
}

func TestSalesforce_AnOlderChangeOfARecordIsSkipped(t *testing.T) {
	each(t, func(w *world) {
		topic := &sfTopic{batch: 1}
		topic.publish(change("newer", 7, 2, "001A"))
		topic.publish(change("older in the same transaction", 7, 1, "001A"))
		topic.publish(change("older transaction", 6, 9, "001A", "001B"))
		ctx, cancel := context.WithCancel(w.t.Context())
		s := inbox.Salesforce{Org: "o", Topic: "t", Inbox: w.in, Process: w.process, Subscribe: topic.subscribe(cancel)}
		require.NoError(w.t, s.Run(ctx))
		require.Equal(w.t, map[string]int{"newer": 1, "older transaction": 1}, w.effects(), "only the record that had nothing newer")
	})
}

func TestSalesforce_ALostReplayIDIsAnErrorNotAGuess(t *testing.T) {
	each(t, func(w *world) {
		topic := &sfTopic{batch: 1}
		s := inbox.Salesforce{Org: "o", Topic: "t", Inbox: w.in, Process: w.process, Subscribe: topic.subscribe(nil)}
		require.NoError(w.t, w.in.Checkpoint(w.t.Context(), "sf:o:t", 4, []byte("past its retention")))
		err := s.Run(w.t.Context())
		require.ErrorContains(w.t, err, "replayid.corrupted")
		require.NotErrorIs(w.t, err, context.Canceled)
	})
}
