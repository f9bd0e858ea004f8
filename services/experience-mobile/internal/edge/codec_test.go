package edge

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
)

func TestCodec(t *testing.T) {
	t.Parallel()
	c := newCodec()
	for name, body := range map[string]io.Reader{"held": holdBody([]byte(`{"name":"x"}`)), "a stream": strings.NewReader(`{"name":"x"}`)} {
		var made *mobilev1.Customer
		require.NoError(t, c.NewDecoder(body).Decode(&made), name)
		require.Equal(t, "x", made.GetName(), name)
		require.ErrorIs(t, c.NewDecoder(body).Decode(&made), io.EOF, "%s: nothing is left", name)
	}
	held := holdBody([]byte(`{"name":"z"}`))
	held.made = &mobilev1.Customer{Name: "made"}
	order := &mobilev1.NewOrder{}
	require.Error(t, c.NewDecoder(held).Decode(&order), "another message is not what was made")
	held = holdBody([]byte(`{"name":"z"}`))
	held.made = &mobilev1.Customer{Name: "made"}
	var taken *mobilev1.Customer
	require.NoError(t, c.NewDecoder(held).Decode(&taken))
	require.Equal(t, "made", taken.GetName(), "what was made is not made again")
	require.ErrorIs(t, c.NewDecoder(held).Decode(&taken), io.EOF, "nothing is left")
	begun := holdBody([]byte(` {"name":"y"}`))
	_, err := begun.Read(make([]byte, 1))
	require.NoError(t, err)
	into := &mobilev1.Customer{}
	require.NoError(t, c.NewDecoder(begun).Decode(into), "what is left")
	require.Equal(t, "y", into.GetName())
	for _, bad := range []string{`{"name":"x"}{}`, `{"none":1}`, `{"name":1}`, `x`} {
		require.Error(t, c.NewDecoder(holdBody([]byte(bad))).Decode(&mobilev1.Customer{}), bad)
	}
	var text string
	require.NoError(t, c.NewDecoder(holdBody([]byte(`"z"`))).Decode(&text), "what is no message")
	require.Equal(t, "z", text)
	written, err := c.Marshal([]string{"a"})
	require.NoError(t, err)
	require.JSONEq(t, `["a"]`, string(written))
	written, err = c.Marshal(&mobilev1.ListCustomersResponse{})
	require.NoError(t, err)
	require.JSONEq(t, `{"customers":[],"nextPageToken":""}`, string(written), "what is empty is there")
}
