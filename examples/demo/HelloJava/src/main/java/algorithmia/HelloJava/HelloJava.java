package algorithmia.HelloJava;

import java.util.Map;

/** The method is called whose parameter is like the input. */
public class HelloJava {
    public String apply(String input) {
        return "Hello " + input;
    }

    public Map<String, String> apply(Map<String, String> input) {
        if (!input.containsKey("name")) {
            throw new IllegalArgumentException("an object with a name is expected");
        }
        return Map.of("greeting", "Hello " + input.get("name"));
    }

    public byte[] apply(byte[] input) {
        return input;
    }
}
