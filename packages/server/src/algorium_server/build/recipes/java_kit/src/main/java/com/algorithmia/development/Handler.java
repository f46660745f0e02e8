package com.algorithmia.development;

import algorium.pipe.Wire;
import com.google.gson.Gson;
import com.google.gson.JsonElement;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.Type;

/**
 * Serves an algorithm: the older name of the development kit, and all of its substance.
 *
 * <p>The platform's replacement for the kit of the old service, which is no longer published. Input
 * and output are mapped by Gson; a result of null is an error; a failing load is reported as such.
 */
public class Handler<INPUT, OUTPUT> {
    private final AbstractAlgorithm<INPUT, OUTPUT> implementation;
    private final Type inputType;
    private final Gson gson = new Gson();

    public Handler(AbstractAlgorithm<INPUT, OUTPUT> implementation) {
        this.implementation = implementation;
        this.inputType = inputTypeOf(implementation.getClass());
    }

    /** Serves calls; without the platform, reads requests from standard input and prints answers. */
    public void init() {
        init(null);
    }

    /** The same; without the platform, only applies the algorithm to {@code payload} once. */
    public void init(INPUT payload) {
        if (!Wire.isOnPlatform() && payload != null) {
            implementation.load();
            System.out.println(Wire.success(implementation.apply(payload)));
            return;
        }
        serve();
    }

    public void serve() {
        Wire wire = Wire.open();
        try {
            implementation.load();
        } catch (RuntimeException error) {
            wire.fail(error, error.getClass().toString());
            return;
        }
        wire.serve(
                request -> {
                    try {
                        return Wire.success(checked(implementation.apply(convert(request))));
                    } catch (RuntimeException error) {
                        return Wire.failure(error, error.getClass().toString());
                    }
                });
    }

    private static Object checked(Object result) {
        if (result == null) {
            throw new NullPointerException("the algorithm returned null");
        }
        return result;
    }

    @SuppressWarnings("unchecked")
    private INPUT convert(Wire.Request request) {
        JsonElement data = request.data;
        try {
            Object input;
            if (inputType == byte[].class) {
                input = request.bytes();
            } else if (inputType == JsonElement.class) {
                input = data;
            } else if (inputType == String.class) {
                input = data.getAsString();
            } else if (inputType == Number.class) {
                input = data.getAsNumber();
            } else {
                input = gson.fromJson(data, inputType);
                checkRequired(input);
            }
            return (INPUT) input;
        } catch (RuntimeException error) {
            throw new RuntimeException(
                    "unable to parse data: " + data + " as expected type: " + inputType.getTypeName()
                            + ": " + error.getMessage(),
                    error);
        }
    }

    private static void checkRequired(Object input) {
        for (Class<?> type = input == null ? null : input.getClass();
                type != null && !type.getName().startsWith("java.");
                type = type.getSuperclass()) {
            for (Field field : type.getDeclaredFields()) {
                if (field.isAnnotationPresent(Required.class) && isMissing(field, input)) {
                    throw new RuntimeException(
                            "Missing required field in JSON input: " + field.getName());
                }
            }
        }
    }

    private static boolean isMissing(Field field, Object input) {
        try {
            field.setAccessible(true);
            return field.get(input) == null;
        } catch (IllegalAccessException error) {
            throw new IllegalStateException(error);
        }
    }

    private static Type inputTypeOf(Class<?> implementation) {
        for (Class<?> type = implementation; type != null; type = type.getSuperclass()) {
            for (Method method : type.getDeclaredMethods()) {
                if (method.getName().equals("apply")
                        && method.getParameterCount() == 1
                        && !method.isBridge()
                        && type != AbstractAlgorithm.class) {
                    return method.getGenericParameterTypes()[0];
                }
            }
        }
        throw new RuntimeException("no method apply in " + implementation.getName());
    }
}
