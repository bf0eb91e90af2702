import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;

/**
 * Runs the statements of a file, parted by semicolons, in a Flink of this process. The last one is an INSERT over a
 * bounded read; prints how many seconds it took, the start of its job included. Arguments: FILE PARALLELISM.
 */
public class FlinkSql {
  public static void main(String[] args) throws Exception {
    int parallelism = Integer.parseInt(args[1]);
    Configuration configuration = new Configuration();
    configuration.setString("taskmanager.memory.managed.size", "512mb");
    configuration.setString("taskmanager.numberOfTaskSlots", String.valueOf(parallelism));
    StreamExecutionEnvironment environment =
        StreamExecutionEnvironment.getExecutionEnvironment(configuration);
    environment.setParallelism(parallelism);
    environment.getConfig().enableObjectReuse();
    StreamTableEnvironment tables = StreamTableEnvironment.create(environment);
    String[] statements = Files.readString(Path.of(args[0])).strip().split(";\\s*");
    for (int i = 0; i + 1 < statements.length; i++) {
      tables.executeSql(statements[i]);
    }
    long begin = System.nanoTime();
    tables.executeSql(statements[statements.length - 1]).await();
    System.out.printf("seconds %.3f%n", (System.nanoTime() - begin) / 1e9);
    System.exit(0);
  }
}
