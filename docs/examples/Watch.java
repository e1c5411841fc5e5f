import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardWatchEventKinds;
import java.nio.file.WatchKey;
import java.nio.file.WatchService;
import java.util.Arrays;

/**
 * Reads a secret again whenever it changes. A WatchService watches only directories. In a volume's directory every
 * change replaces the symlink ..data, so that all files change together.
 *
 * <p>usage: java Watch.java FILE
 */
public class Watch {
  private static byte[] secret;

  public static void main(String[] args) throws Exception {
    Path file = Path.of(args[0]);
    WatchService watcher = FileSystems.getDefault().newWatchService();
    // ENTRY_MODIFY is for updateMode InPlace, which has no ..data.
    file.toAbsolutePath().getParent()
        .register(watcher, StandardWatchEventKinds.ENTRY_CREATE, StandardWatchEventKinds.ENTRY_MODIFY);
    while (true) {
      load(file);
      WatchKey key = watcher.take();
      key.pollEvents();
      if (!key.reset()) throw new IllegalStateException("the volume is gone");
    }
  }

  private static void load(Path file) throws Exception {
    byte[] fresh = Files.readAllBytes(file);
    if (Arrays.equals(fresh, secret)) return; // The directory changes for other reasons too.
    secret = fresh;
    System.out.println("loaded " + secret.length + " bytes");
  }
}
