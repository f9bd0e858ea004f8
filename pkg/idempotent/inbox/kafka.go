package inbox

import (
	"context"
	"fmt"
	"strconv"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/retry"
)

// KafkaRecord is one record of a log, as every Kafka client has it.
type KafkaRecord struct {
	Topic     string
	Partition int32
	Offset    int64
	Key       []byte
	Value     []byte
	Headers   []KafkaHeader
}

// KafkaHeader is one header of a record.
type KafkaHeader struct {
	Key   string
	Value []byte
}

// KafkaPartition names a partition.
type KafkaPartition struct {
	Topic     string
	Partition int32
}

// KafkaClient is a member of a consumer group with automatic commits switched off.
type KafkaClient interface {
	// Poll returns the next records, in the order of each partition. It waits until there are some or ctx ends.
	Poll(ctx context.Context) ([]KafkaRecord, error)
	// Commit stores the offsets to go on at: those after the last processed ones. It fails if the group has given the
	// partition to another member.
	Commit(ctx context.Context, next map[KafkaPartition]int64) error
}

// Kafka consumes as one member of a group.
type Kafka struct {
	// Client is this member.
	Client KafkaClient
	// Inbox is that of the group: one consumer name for all its members.
	Inbox *Inbox
	// Process gives a message its verdict.
	Process Process
	// Cluster tells the positions of several clusters apart; it may be empty.
	Cluster string
	// IDHeader names the header with the producer's event id (Debezium's outbox: "id"). With it, an event that the
	// producer published twice, at two offsets, is processed once, and is remembered for the retention. Without it,
	// or on records without it, the offset is the identity.
	IDHeader string
	// VersionHeader names the header with the version of what the record's key names, a decimal number; empty: the
	// order of the partition is the order of processing, which is enough if nobody else repeats records.
	VersionHeader string
	// Parallel is how many partitions are processed at once; zero means 8.
	Parallel int
	// Backoff is the pause before a record is tried again. A partition waits for its first record that fails.
	Backoff retry.Backoff
}

// Message returns the record as a message.
func (k Kafka) Message(r KafkaRecord) (Message, error) {
	m := Message{Stream: k.stream(r), Position: r.Offset, Body: r.Value}
	for _, h := range r.Headers {
		switch {
		case k.IDHeader != "" && h.Key == k.IDHeader && len(h.Value) > 0:
			m.ID, m.Stream, m.Position = "kafka:"+k.Cluster+":"+r.Topic+":"+string(h.Value), "", 0
		case k.VersionHeader != "" && h.Key == k.VersionHeader:
			v, err := strconv.ParseInt(string(h.Value), 10, 64)
			if err != nil {
				return m, fault.New(fault.Invalid, ReasonMessageInvalid, "the version of the record is not a number")
			}
			m.Version.Major, m.Object = v, r.Topic+"/"+string(r.Key)
		}
	}
	return m, nil
}

func (k Kafka) stream(r KafkaRecord) string {
	return fmt.Sprintf("kafka:%s:%s/%d", k.Cluster, r.Topic, r.Partition)
}

// Run consumes until ctx ends (nil) or the client fails; then the caller joins the group again. Offsets are committed
// after the effects, so whatever happens in between is delivered again and recognised.
func (k Kafka) Run(ctx context.Context) error {
	parallel := k.Parallel
	if parallel <= 0 {
		parallel = 8
	}
	for ctx.Err() == nil {
		records, err := k.Client.Poll(ctx)
		if err != nil {
			return ended(ctx, "poll", err)
		}
		err = lanes(ctx, records, parallel, k.stream, func(ctx context.Context, r KafkaRecord) error {
			return persist(ctx, k.Backoff, func(ctx context.Context) (Verdict, error) {
				m, err := k.Message(r)
				if err != nil {
					return k.Inbox.refuse(ctx, m, err)
				}
				return k.Process(ctx, m)
			})
		})
		if err != nil {
			return ended(ctx, "process", err)
		}
		if err := k.commit(ctx, records); err != nil {
			return ended(ctx, "commit", err)
		}
	}
	return nil
}

// commit passes the checkpoint first: the effects are what it is about, whoever owns the partition now.
func (k Kafka) commit(ctx context.Context, records []KafkaRecord) error {
	next, streams := map[KafkaPartition]int64{}, map[KafkaPartition]string{}
	for _, r := range records {
		p := KafkaPartition{r.Topic, r.Partition}
		next[p], streams[p] = max(next[p], r.Offset+1), k.stream(r)
	}
	for p, stream := range streams {
		if err := k.Inbox.Checkpoint(ctx, stream, next[p]-1, nil); err != nil {
			return err
		}
	}
	if len(next) == 0 {
		return nil
	}
	return k.Client.Commit(ctx, next)
}
