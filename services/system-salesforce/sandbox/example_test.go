package sandbox_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

func ExampleNew() {
	s, err := sandbox.New(sandbox.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + s.HTTPAddr() + "/services/data")
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	fmt.Println(resp.StatusCode, strings.Contains(string(body), "/services/data/v62.0"))

	stop()
	fmt.Println(<-done)
	// Output:
	// 200 true
	// <nil>
}
