package inbox

import (
	"context"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/retry"
)

// SQSMessage is one receipt of a message.
type SQSMessage struct {
	// MessageID is given by the queue: a producer that repeats SendMessage gets another one.
	MessageID string
	// ReceiptHandle belongs to this receipt.
	ReceiptHandle string
	Body          string
	// Attributes are the system attributes (ApproximateReceiveCount, MessageDeduplicationId …).
	Attributes map[string]string
	// MessageAttributes are the producer's, as strings.
	MessageAttributes map[string]string
}

// SQSQueue is a queue, standard or FIFO.
type SQSQueue interface {
	// Receive waits for at most limit (1 to 10) messages and hides them for the queue's visibility timeout.
	Receive(ctx context.Context, limit int) ([]SQSMessage, error)
	// Delete acknowledges. With an old receipt the queue may say yes and deliver again.
	Delete(ctx context.Context, receipt string) error
	// ChangeVisibility hides the message for d from now; zero shows it at once.
	ChangeVisibility(ctx context.Context, receipt string, d time.Duration) error
}

// SQS consumes a queue.
type SQS struct {
	Queue   SQSQueue
	Inbox   *Inbox
	Process Process
	// Name tells queues apart.
	Name string
	// IDAttribute names the message attribute with the producer's event id. Without it a FIFO queue's
	// MessageDeduplicationId is the identity, which here holds for the retention instead of five minutes, and on a
	// standard queue the MessageId, which does not see that a producer sent twice.
	IDAttribute string
	// ObjectAttribute and VersionAttribute name the message attributes that order messages: a standard queue delivers
	// in any order. Empty: the order does not matter.
	ObjectAttribute, VersionAttribute string
	// Visibility is the queue's visibility timeout; it is extended every third of it while a message is processed.
	// Zero means 30 s.
	Visibility time.Duration
	// Parallel is how many messages are processed, and held in memory, at once; zero means 10. For a FIFO queue with
	// ordered groups use a Version, or 1.
	Parallel int
	// Backoff is how long a message that failed stays hidden.
	Backoff retry.Backoff
}

// Message returns the receipt as a message.
func (q SQS) Message(s SQSMessage) (Message, error) {
	id := s.MessageID
	if v := s.Attributes["MessageDeduplicationId"]; v != "" {
		// A deduplication id is unique within its group on a high-throughput queue.
		id = s.Attributes["MessageGroupId"] + "/" + v
	}
	if v := s.MessageAttributes[q.IDAttribute]; q.IDAttribute != "" && v != "" {
		id = v
	}
	m := Message{ID: "sqs:" + q.Name + ":" + id, Body: []byte(s.Body)}
	if q.ObjectAttribute == "" || q.VersionAttribute == "" {
		return m, nil
	}
	v, err := strconv.ParseInt(s.MessageAttributes[q.VersionAttribute], 10, 64)
	if err != nil {
		return m, fault.New(fault.Invalid, ReasonMessageInvalid, "the version of the message is not a number")
	}
	m.Object, m.Version.Major = s.MessageAttributes[q.ObjectAttribute], v
	return m, nil
}

// Run consumes until ctx ends (nil) or the queue cannot be read. It holds at most Parallel messages and receives more
// when some are done.
func (q SQS) Run(ctx context.Context) error {
	parallel := q.Parallel
	if parallel <= 0 {
		parallel = 10
	}
	slots := make(chan struct{}, parallel)
	g, working := errgroup.WithContext(ctx)
	for {
		free := 1
		select { // wait for one slot, then take what else is free
		case <-working.Done():
			return q.finish(ctx, g)
		case slots <- struct{}{}:
		}
		for free < min(parallel, 10) {
			select {
			case slots <- struct{}{}:
				free++
				continue
			default:
			}
			break
		}
		got, err := q.Queue.Receive(working, free)
		if err != nil {
			g.Go(func() error { return err })
			return q.finish(ctx, g)
		}
		for range free - len(got) {
			<-slots
		}
		for _, s := range got {
			g.Go(func() error {
				defer func() { <-slots }()
				q.one(working, s)
				return nil
			})
		}
	}
}

func (q SQS) finish(ctx context.Context, g *errgroup.Group) error {
	if err := g.Wait(); err != nil {
		return ended(ctx, "receive", err)
	}
	return nil
}

// one processes a message. What it cannot tell the queue, the queue finds out when the message becomes visible again.
func (q SQS) one(ctx context.Context, s SQSMessage) {
	visibility := q.Visibility
	if visibility <= 0 {
		visibility = 30 * time.Second
	}
	hold, release := context.WithCancel(ctx)
	held := make(chan struct{})
	go func() {
		defer close(held)
		tick := time.NewTicker(visibility / 3)
		defer tick.Stop()
		for {
			select {
			case <-hold.Done():
				return
			case <-tick.C:
				_ = q.Queue.ChangeVisibility(hold, s.ReceiptHandle, visibility)
			}
		}
	}()
	m, err := q.Message(s)
	if err != nil {
		_, err = q.Inbox.refuse(ctx, m, err)
	} else {
		_, err = q.Process(ctx, m)
	}
	release()
	<-held
	// The consumer may be stopping: what is decided is still told.
	tell, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err == nil {
		_ = q.Queue.Delete(tell, s.ReceiptHandle)
		return
	}
	received, _ := strconv.Atoi(s.Attributes["ApproximateReceiveCount"])
	_ = q.Queue.ChangeVisibility(tell, s.ReceiptHandle, max(q.Backoff.Next(received), fault.RetryAfter(err)))
}
