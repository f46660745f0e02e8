package algorithmia.HelloJava;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;

import java.util.Map;
import org.junit.Test;

public class HelloJavaTest {
    private final HelloJava algorithm = new HelloJava();

    @Test
    public void textIsGreeted() {
        assertEquals("Hello Jane", algorithm.apply("Jane"));
    }

    @Test
    public void aNameIsGreeted() {
        assertEquals(Map.of("greeting", "Hello Jane"), algorithm.apply(Map.of("name", "Jane")));
    }

    @Test
    public void bytesComeBack() {
        byte[] bytes = {0, -1};
        assertArrayEquals(bytes, algorithm.apply(bytes));
    }

    @Test(expected = IllegalArgumentException.class)
    public void aNameIsNeeded() {
        algorithm.apply(Map.of());
    }
}
