package inbox_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/pkg/idempotent/inbox"
)

var errCrash = errors.New("the process died")

// kafkaBroker is one consumer group over partitions. It behaves as Kafka does: a member reads on from the committed
// offset, a rebalance makes a new generation, and a commit of an older generation is refused although that member still
// holds what it has polled.
type kafkaBroker struct {
	mu         sync.Mutex
	logs       map[inbox.KafkaPartition][]inbox.KafkaRecord
	committed  map[inbox.KafkaPartition]int64
	generation int
}

func newKafka() *kafkaBroker {
	return &kafkaBroker{logs: map[inbox.KafkaPartition][]inbox.KafkaRecord{}, committed: map[inbox.KafkaPartition]int64{}}
}

// produce appends; offsets have gaps, as they do behind transaction markers and compaction.
func (b *kafkaBroker) produce(partition int32, key, value string, headers ...inbox.KafkaHeader) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := inbox.KafkaPartition{Topic: "orders", Partition: partition}
	offset := int64(0)
	if n := len(b.logs[p]); n > 0 {
		offset = b.logs[p][n-1].Offset + 1 + int64(n%2)
	}
	b.logs[p] = append(b.logs[p], inbox.KafkaRecord{
		Topic: p.Topic, Partition: partition, Offset: offset, Key: []byte(key), Value: []byte(value), Headers: headers,
	})
}

// kafkaMember is one member's view.
type kafkaMember struct {
	b          *kafkaBroker
	generation int
	next       map[inbox.KafkaPartition]int64
	batch      int
	idle       func()       // nothing left
	onCommit   func() error // before the commit
}

// join rebalances: the new member has all partitions.
func (b *kafkaBroker) join(batch int, idle func()) *kafkaMember {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.generation++
	m := &kafkaMember{b: b, generation: b.generation, next: map[inbox.KafkaPartition]int64{}, batch: batch, idle: idle}
	for p := range b.logs {
		m.next[p] = b.committed[p]
	}
	return m
}

func (m *kafkaMember) Poll(ctx context.Context) ([]inbox.KafkaRecord, error) {
	m.b.mu.Lock()
	var out []inbox.KafkaRecord
	for p, log := range m.b.logs {
		for _, r := range log {
			if r.Offset >= m.next[p] && len(out) < m.batch {
				out = append(out, r)
				m.next[p] = r.Offset + 1
			}
		}
	}
	m.b.mu.Unlock()
	if len(out) > 0 {
		return out, nil
	}
	if m.idle != nil {
		m.idle()
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (m *kafkaMember) Commit(_ context.Context, next map[inbox.KafkaPartition]int64) error {
	if m.onCommit != nil {
		if err := m.onCommit(); err != nil {
			return err
		}
	}
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	if m.generation != m.b.generation {
		return errors.New("ILLEGAL_GENERATION")
	}
	for p, o := range next {
		m.b.committed[p] = o
	}
	return nil
}

// sqsQueue is a standard queue: in any order, again when the visibility timeout ends, and now and then once more although
// it was deleted. Only the newest receipt deletes; an older one is answered with success and ignored.
type sqsQueue struct {
	mu         sync.Mutex
	visibility time.Duration
	messages   []*sqsEntry
	receipts   int
	ghosts     int // deleted messages that are still delivered once
	deleted    int
}

type sqsEntry struct {
	m        inbox.SQSMessage
	visible  time.Time
	receipt  string
	received int
	ghost    bool
}

func (q *sqsQueue) send(body string, system, attributes map[string]string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages = append(q.messages, &sqsEntry{m: inbox.SQSMessage{
		MessageID: fmt.Sprint("m-", len(q.messages)+q.deleted), Body: body, Attributes: system, MessageAttributes: attributes,
	}})
}

func (q *sqsQueue) Receive(ctx context.Context, limit int) ([]inbox.SQSMessage, error) {
	if limit < 1 || limit > 10 {
		return nil, errors.New("ReadCountOutOfRange")
	}
	for end := time.Now().Add(20 * time.Second); ; {
		q.mu.Lock()
		var out []inbox.SQSMessage
		for i := len(q.messages) - 1; i >= 0 && len(out) < limit; i-- { // newest first: no order is promised
			e := q.messages[i]
			if e.visible.After(time.Now()) {
				continue
			}
			q.receipts++
			e.received++
			e.receipt, e.visible = fmt.Sprint("r-", q.receipts), time.Now().Add(q.visibility)
			m := e.m
			m.ReceiptHandle = e.receipt
			m.Attributes = map[string]string{"ApproximateReceiveCount": strconv.Itoa(e.received)}
			for k, v := range e.m.Attributes {
				m.Attributes[k] = v
			}
			out = append(out, m)
		}
		q.mu.Unlock()
		if len(out) > 0 || time.Now().After(end) {
			return out, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func (q *sqsQueue) Delete(_ context.Context, receipt string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, e := range q.messages {
		if e.receipt != receipt {
			continue
		}
		if q.ghosts > 0 && !e.ghost {
			q.ghosts--
			e.ghost, e.visible = true, time.Now()
			return nil
		}
		q.messages = slices.Delete(q.messages, i, i+1)
		q.deleted++
		return nil
	}
	return nil
}

func (q *sqsQueue) ChangeVisibility(_ context.Context, receipt string, d time.Duration) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if d > 12*time.Hour {
		return errors.New("InvalidParameterValue")
	}
	for _, e := range q.messages {
		if e.receipt == receipt {
			e.visible = time.Now().Add(d)
		}
	}
	return nil
}

func (q *sqsQueue) left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.messages)
}

// sfTopic is a topic of the event bus: it keeps no position for anybody, its replay ids are opaque and have gaps, and a
// replay id that it does not know is refused.
type sfTopic struct {
	mu     sync.Mutex
	events []inbox.SalesforceEvent
	batch  int
}

func replayID(n int) []byte { return binary.BigEndian.AppendUint64([]byte{0, 0}, uint64(n)) }

func (s *sfTopic) publish(e inbox.SalesforceEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.ReplayID = replayID(1000 + 7*len(s.events))
	s.events = append(s.events, e)
}

func (s *sfTopic) subscribe(idle func()) func(context.Context, []byte) (inbox.SalesforceSubscription, error) {
	return func(_ context.Context, after []byte) (inbox.SalesforceSubscription, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		from := 0
		if after != nil {
			i := slices.IndexFunc(s.events, func(e inbox.SalesforceEvent) bool { return string(e.ReplayID) == string(after) })
			if i < 0 {
				return nil, errors.New("sfdc.platform.eventbus.grpc.subscription.fetch.replayid.corrupted")
			}
			from = i + 1
		}
		return &sfSubscription{s, from, idle}, nil
	}
}

type sfSubscription struct {
	topic *sfTopic
	next  int
	idle  func()
}

func (s *sfSubscription) Next(ctx context.Context) ([]inbox.SalesforceEvent, []byte, error) {
	s.topic.mu.Lock()
	end := min(s.next+s.topic.batch, len(s.topic.events))
	out := slices.Clone(s.topic.events[s.next:end])
	s.next = end
	s.topic.mu.Unlock()
	if len(out) > 0 {
		return out, out[len(out)-1].ReplayID, nil
	}
	if s.idle != nil {
		s.idle()
	}
	<-ctx.Done()
	return nil, nil, ctx.Err()
}
