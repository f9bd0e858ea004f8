package source

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect serves what register registers in this process and returns a connection to it.
func connect(t *testing.T, register func(grpc.ServiceRegistrar)) *grpc.ClientConn {
	t.Helper()
	srv := grpc.NewServer(grpc.UnaryInterceptor(fault.UnaryServer(nil)), grpc.StreamInterceptor(fault.StreamServer(nil)))
	register(srv)
	return connectTo(t, srv)
}

// connectTo returns a connection, as this service's are, to srv.
func connectTo(t *testing.T, srv *grpc.Server) *grpc.ClientConn {
	t.Helper()
	lis := bufconn.Listen(1 << 20)
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(lis) })
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }),
		grpc.WithUnaryInterceptor(fault.UnaryClient()), grpc.WithStreamInterceptor(fault.StreamClient()))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		srv.Stop()
		serving.Wait()
	})
	return conn
}

// table keeps messages with the fields id, version, update_time and deleted, and logs their changes.
type table struct {
	mu    sync.Mutex
	rows  map[string]proto.Message
	log   []string // ids of changed rows
	grown chan struct{}
}

func newTable() *table { return &table{rows: map[string]proto.Message{}, grown: make(chan struct{})} }

func get(m proto.Message, field string) protoreflect.Value {
	r := m.ProtoReflect()
	return r.Get(r.Descriptor().Fields().ByName(protoreflect.Name(field)))
}

func set(m proto.Message, field string, v any) {
	r := m.ProtoReflect()
	r.Set(r.Descriptor().Fields().ByName(protoreflect.Name(field)), protoreflect.ValueOf(v))
}

// apply copies the fields of a mask, which may lead into one message.
func apply(dst, src proto.Message, paths []string) {
	for _, path := range paths {
		d, s := dst.ProtoReflect(), src.ProtoReflect()
		head, tail, nested := strings.Cut(path, ".")
		fd := d.Descriptor().Fields().ByName(protoreflect.Name(head))
		switch {
		case nested:
			apply(d.Mutable(fd).Message().Interface(), s.Get(fd).Message().Interface(), []string{tail})
		case s.Has(fd):
			d.Set(fd, s.Get(fd))
		default:
			d.Clear(fd)
		}
	}
}

// store keeps a row as a new version. The caller holds the lock.
func (t *table) store(id string, m proto.Message) {
	set(m, "id", id)
	set(m, "version", get(m, "version").Int()+1)
	set(m, "update_time", timestamppb.Now().ProtoReflect())
	t.rows[id] = m
	t.log = append(t.log, id)
	close(t.grown)
	t.grown = make(chan struct{})
}

// insert stores a new row and returns its id.
func (t *table) insert(prefix string, m proto.Message) string {
	id := fmt.Sprintf("%s%015d", prefix, len(t.rows)+1)
	t.store(id, m)
	return id
}

func (t *table) deleted(id string) bool { return get(t.rows[id], "deleted").Bool() }

// ids returns the ids of live rows, sorted.
func (t *table) ids() []string {
	all := slices.Sorted(maps.Keys(t.rows))
	return slices.DeleteFunc(all, t.deleted)
}

// follow calls send with the rows that changed after the token, for as long as the stream lives.
func (t *table) follow(ctx context.Context, token string, send func(token string, from int, ids []string) error) error {
	t.mu.Lock()
	pos := len(t.log)
	t.mu.Unlock()
	if token != "" {
		var err error
		if pos, err = strconv.Atoi(token); err != nil {
			return fault.New(fault.Invalid, fault.ReasonResumeTokenInvalid, "no token")
		}
	}
	for first := true; ; first = false {
		t.mu.Lock()
		ids, grown := slices.Clone(t.log[pos:]), t.grown
		t.mu.Unlock()
		if first || len(ids) > 0 {
			if err := send(strconv.Itoa(pos+len(ids)), pos, ids); err != nil {
				return err
			}
			pos += len(ids)
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-grown:
		}
	}
}

// page returns one page of live ids of two.
func (t *table) page(token string) (ids []string, next string) {
	all := t.ids()
	start, _ := strconv.Atoi(token)
	end := min(start+2, len(all))
	if end < len(all) {
		next = strconv.Itoa(end)
	}
	return all[start:end], next
}

func someTime() *timestamppb.Timestamp { return timestamppb.New(time.Unix(1_700_000_000, 0)) }
