"""The processes that hold a framework: started, asked, ended. They know not who asks."""
