package algorium.pipe;

import com.google.gson.JsonElement;
import java.io.File;
import java.io.IOException;
import java.lang.annotation.Annotation;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Type;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * The overloads of {@code apply} of one object, and which of them a request is for.
 *
 * <p>Text goes to a String, bytes to a byte[]. A JSON array is first taken for a list of arguments,
 * then for one argument. Numbers prefer the widest type. What fits nothing else is converted by
 * Gson. A method marked {@code @AcceptsJson} gets everything, as JSON text if it wants a String.
 */
final class Overloads {
    private static final List<Class<?>> NUMBERS =
            List.of(
                    double.class, Double.class, float.class, Float.class, long.class, Long.class,
                    int.class, Integer.class, short.class, Short.class, byte.class, Byte.class);
    private static final int CONVERTED = 50;
    private static final int NEVER = -1;

    private final Object instance;
    private final List<Method> methods = new ArrayList<>();

    Overloads(Class<?> type) throws ReflectiveOperationException {
        for (Method method : type.getMethods()) {
            if (method.getName().equals("apply") && !method.isBridge()) {
                method.setAccessible(true); // the class itself may not be public
                methods.add(method);
            }
        }
        if (methods.isEmpty()) {
            throw new NoSuchMethodException(type.getName() + " has no public method apply");
        }
        var constructor = type.getDeclaredConstructor();
        constructor.setAccessible(true);
        instance = constructor.newInstance();
    }

    String apply(Wire.Request request) throws Exception {
        for (Method method : methods) {
            if (isMarked(method, "AcceptsJson")) {
                boolean wantsText = method.getParameterTypes()[0] == String.class;
                JsonElement data = request.data;
                boolean isText = data.isJsonPrimitive() && data.getAsJsonPrimitive().isString();
                Object input = wantsText && !isText ? data.toString() : convert(data, method, 0);
                return result(method, invoke(method, input));
            }
        }
        if (request.contentType.equals("binary")) {
            for (Method method : methods) {
                if (method.getParameterCount() == 1 && method.getParameterTypes()[0] == byte[].class) {
                    return result(method, invoke(method, request.bytes()));
                }
            }
            throw noMatch();
        }
        RuntimeException problem = null;
        for (List<JsonElement> arguments : readings(request)) {
            for (Method method : candidates(arguments)) {
                Object[] converted = new Object[arguments.size()];
                try {
                    for (int i = 0; i < converted.length; i++) {
                        converted[i] = convert(arguments.get(i), method, i);
                    }
                } catch (RuntimeException error) {
                    problem = problem == null ? error : problem;
                    continue; // another one may want what this one does not understand
                }
                return result(method, invoke(method, converted));
            }
        }
        throw problem == null ? noMatch() : problem;
    }

    private static IllegalArgumentException noMatch() {
        return new IllegalArgumentException("no apply method matches input signature");
    }

    private static List<List<JsonElement>> readings(Wire.Request request) {
        List<List<JsonElement>> readings = new ArrayList<>();
        if (request.data.isJsonArray()) {
            List<JsonElement> arguments = new ArrayList<>();
            request.data.getAsJsonArray().forEach(arguments::add);
            readings.add(arguments);
        }
        readings.add(List.of(request.data));
        return readings;
    }

    private List<Method> candidates(List<JsonElement> arguments) {
        List<Method> fitting = new ArrayList<>();
        for (Method method : methods) {
            if (method.getParameterCount() == arguments.size() && rank(method, arguments) != NEVER) {
                fitting.add(method);
            }
        }
        fitting.sort(Comparator.comparingInt(method -> rank(method, arguments)));
        return fitting;
    }

    private static int rank(Method method, List<JsonElement> arguments) {
        int sum = 0;
        for (int i = 0; i < arguments.size(); i++) {
            int rank = rank(method.getParameterTypes()[i], arguments.get(i));
            if (rank == NEVER) {
                return NEVER;
            }
            sum += rank;
        }
        return sum;
    }

    private static int rank(Class<?> type, JsonElement argument) {
        if (type == byte[].class) {
            return argument.isJsonArray() ? CONVERTED : NEVER;
        }
        if (!argument.isJsonPrimitive()) {
            return argument.isJsonNull() && type.isPrimitive() ? NEVER : 0;
        }
        var primitive = argument.getAsJsonPrimitive();
        if (primitive.isString()) {
            boolean isCharacter = type == char.class || type == Character.class;
            return type == String.class ? 0 : isCharacter ? 1 : CONVERTED;
        }
        if (primitive.isBoolean()) {
            return type == boolean.class || type == Boolean.class ? 0 : CONVERTED;
        }
        int rank = NUMBERS.indexOf(type);
        return rank >= 0 ? rank : Number.class.isAssignableFrom(type) ? NUMBERS.size() : CONVERTED;
    }

    private static Object convert(JsonElement argument, Method method, int index) {
        Type type = method.getGenericParameterTypes()[index];
        if (type == String.class && argument.isJsonPrimitive()) {
            return argument.getAsString();
        }
        return Wire.GSON.fromJson(argument, type);
    }

    private Object invoke(Method method, Object... arguments)
            throws InvocationTargetException, IllegalAccessException {
        return method.invoke(instance, arguments);
    }

    private static String result(Method method, Object output) throws IOException {
        if (output instanceof File) {
            File file = (File) output;
            byte[] content = Files.readAllBytes(file.toPath());
            file.delete();
            return Wire.success(content);
        }
        if (output instanceof String && isMarked(method, "ReturnsJson")) {
            return Wire.success(Wire.json((String) output), "json");
        }
        return Wire.success(output);
    }

    private static boolean isMarked(Method method, String name) {
        for (Annotation annotation : method.getAnnotations()) {
            if (annotation.annotationType().getName().equals("com.algorithmia.algo." + name)) {
                return true;
            }
        }
        return false;
    }
}
