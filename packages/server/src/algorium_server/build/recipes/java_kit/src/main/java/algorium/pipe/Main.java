package algorium.pipe;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;

/**
 * Serves a class that does not serve itself: any public overloads of {@code apply}.
 *
 * <p>{@code Main CLASS} serves; {@code Main --check CLASS} only loads it; {@code Main --check-main
 * CLASS} only looks for its {@code main}.
 */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) throws Throwable {
        String name = arguments[arguments.length - 1];
        if (arguments[0].equals("--check-main")) {
            // Not initialised: what it does by itself may need the platform.
            Class<?> type = Class.forName(name, false, Main.class.getClassLoader());
            Method main = type.getMethod("main", String[].class);
            if (!Modifier.isStatic(main.getModifiers())) {
                throw new NoSuchMethodException("the method main of " + name + " is not static");
            }
            return;
        }
        Overloads overloads = new Overloads(Class.forName(name));
        if (arguments[0].equals("--check")) {
            return;
        }
        Wire.open().serve(request -> answer(overloads, request));
        System.exit(0); // threads that the algorithm left running do not count
    }

    private static String answer(Overloads overloads, Wire.Request request) {
        try {
            return overloads.apply(request);
        } catch (InvocationTargetException error) {
            return failure(error.getCause());
        } catch (Exception error) {
            return failure(error);
        }
    }

    private static String failure(Throwable error) {
        if (error instanceof VirtualMachineError && !(error instanceof StackOverflowError)) {
            throw (VirtualMachineError) error; // no memory: nothing can be relied on any more
        }
        return Wire.failure(error, error.getClass().getName());
    }
}
