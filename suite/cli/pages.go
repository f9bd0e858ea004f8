package cli

// pages asks for one page after the other, the first with an empty token, and gives each to take, until there are no more.
func pages[P interface{ GetNextPageToken() string }](ask func(token string) (P, error), take func(P)) error {
	for token := ""; ; {
		page, err := ask(token)
		if err != nil {
			return err
		}
		take(page)
		if token = page.GetNextPageToken(); token == "" {
			return nil
		}
	}
}
