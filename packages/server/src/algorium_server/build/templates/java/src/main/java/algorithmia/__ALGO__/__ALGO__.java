package algorithmia.__ALGO__;

public class __ALGO__ {
    /**
     * Called once for every request. There may be more methods of this name: the one is called
     * whose parameters are like the input.
     */
    public String apply(String input) {
        return "Hello " + input;
    }
}
