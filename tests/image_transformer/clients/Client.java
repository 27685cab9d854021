// java.net.http's client with its defaults, which ask for HTTP/2 in the first request of a connection.
// Arguments: an address, then `length:FILE` or `stream:FILE`; prints each answer's body.

import java.io.FileInputStream;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;

public class Client {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int at = 1; at < arguments.length; at++) {
            String[] parts = arguments[at].split(":", 2);
            BodyPublisher body =
                parts[0].equals("length") ? BodyPublishers.ofFile(Path.of(parts[1])) : stream(parts[1]);
            HttpRequest request =
                HttpRequest.newBuilder(URI.create(arguments[0])).header("Content-Type", "image/*").POST(body).build();
            System.out.println(client.send(request, BodyHandlers.ofString()).body());
        }
    }

    private static BodyPublisher stream(String file) {
        return BodyPublishers.ofInputStream(() -> {
            try {
                return new FileInputStream(file);
            } catch (java.io.IOException error) {
                throw new UncheckedIOException(error);
            }
        });
    }
}
