package algorium.pipe;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import java.io.BufferedReader;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.function.Function;

/**
 * The platform's text protocol: requests as lines on standard input, responses into a FIFO.
 *
 * <p>Uses only what the oldest Gson in use offers: the algorithm's own may be found first.
 */
public final class Wire {
    private static final Path FIFO =
            Path.of(System.getenv().getOrDefault("ALGORIUM_FIFO", "/tmp/algoout"));
    static final Gson GSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();

    private final OutputStream out;

    private Wire(OutputStream out) {
        this.out = out;
    }

    /** One call. */
    public static final class Request {
        public final String contentType;
        public final JsonElement data;

        Request(String contentType, JsonElement data) {
            this.contentType = contentType;
            this.data = data;
        }

        public byte[] bytes() {
            return Base64.getDecoder().decode(data.getAsString());
        }
    }

    public static boolean isOnPlatform() {
        return Files.exists(FIFO);
    }

    public static Wire open() {
        try {
            return new Wire(isOnPlatform() ? new FileOutputStream(FIFO.toFile(), true) : System.out);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** Says that the algorithm is loaded, then answers one request after the other. */
    public void serve(Function<Request, String> answer) {
        System.out.println("PIPE_INIT_COMPLETE");
        System.out.flush();
        InputStreamReader decoded = new InputStreamReader(System.in, StandardCharsets.UTF_8);
        try (BufferedReader requests = new BufferedReader(decoded)) {
            for (String line; (line = requests.readLine()) != null; ) {
                write(answer.apply(parse(line)));
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** Reports that the algorithm cannot be loaded. */
    public void fail(Throwable error, String errorType) {
        write(failure(error, errorType));
    }

    private void write(String response) {
        System.out.flush();
        System.err.flush();
        try {
            out.write((response + "\n").getBytes(StandardCharsets.UTF_8));
            out.flush();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    @SuppressWarnings("deprecation") // the ways to say it that are not are younger
    static JsonElement json(String text) {
        return new JsonParser().parse(text);
    }

    private static Request parse(String line) {
        JsonObject request = json(line).getAsJsonObject();
        return new Request(request.get("content_type").getAsString(), request.get("data"));
    }

    /** Text is text, bytes are bytes, everything else is JSON. */
    public static String success(Object result) {
        if (result instanceof String) {
            return success(new JsonPrimitive((String) result), "text");
        }
        if (result instanceof byte[]) {
            String text = Base64.getEncoder().encodeToString((byte[]) result);
            return success(new JsonPrimitive(text), "binary");
        }
        return success(result == null ? JsonNull.INSTANCE : GSON.toJsonTree(result), "json");
    }

    static String success(JsonElement result, String contentType) {
        JsonObject metadata = new JsonObject();
        metadata.addProperty("content_type", contentType);
        JsonObject response = new JsonObject();
        response.add("result", result);
        response.add("metadata", metadata);
        return GSON.toJson(response);
    }

    public static String failure(Throwable error, String errorType) {
        StringWriter trace = new StringWriter();
        error.printStackTrace(new PrintWriter(trace));
        JsonObject described = new JsonObject();
        String message = error.getMessage();
        described.addProperty("message", message == null ? error.toString() : message);
        described.addProperty("stacktrace", trace.toString());
        described.addProperty("error_type", errorType);
        JsonObject response = new JsonObject();
        response.add("error", described);
        return GSON.toJson(response);
    }
}
