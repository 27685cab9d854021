// net/http's client with its defaults.
// Arguments: an address, then `length:FILE` or `stream:FILE`; prints each answer's body.
package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
)

func main() {
	for _, argument := range os.Args[2:] {
		kind, file, _ := strings.Cut(argument, ":")
		content, err := os.ReadFile(file)
		if err != nil {
			log.Fatal(err)
		}
		var body io.Reader = bytes.NewReader(content)
		if kind == "stream" {
			body = io.MultiReader(body) // whose length it does not know
		}
		answer, err := http.Post(os.Args[1], "image/*", body)
		if err != nil {
			log.Fatal(err)
		}
		said, err := io.ReadAll(answer.Body)
		if err != nil {
			log.Fatal(err)
		}
		answer.Body.Close()
		fmt.Println(string(said))
	}
}
